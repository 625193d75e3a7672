// SPDX-License-Identifier: GPL-2.0
#include "sync/gossip.h"

/* Rumours that did not fit before the packet counts as full: the next one may be shorter. */
#define MISFITS 3

void gossip_init(struct gossip *gossip, const struct sync_env *env)
{
	gossip->env = env;
	for (size_t i = 0; i < GOSSIP_TOLD_MAX; i++)
		gossip->heads[i].prev = gossip->heads[i].next = &gossip->heads[i];
	gossip_set_members(gossip, 1);
}

void gossip_set_members(struct gossip *gossip, size_t nr)
{
	uint32_t digits = 0;

	/* ceil(log10(n + 1)) is the number of decimal digits of n. */
	for (size_t rest = nr; rest; rest /= 10)
		digits++;
	gossip->limit = 4 * (digits ? digits : 1);
}

static void link_at(struct gossip *gossip, struct rumour *rumour, uint8_t told)
{
	struct rumour *head = &gossip->heads[told];

	rumour->told = told;
	rumour->prev = head->prev;
	rumour->next = head;
	head->prev->next = rumour;
	head->prev = rumour;
}

static void unlink_rumour(struct rumour *rumour)
{
	rumour->prev->next = rumour->next;
	rumour->next->prev = rumour->prev;
	rumour->prev = rumour->next = NULL;
}

void gossip_forget(struct gossip *gossip, struct rumour *rumour)
{
	if (!rumour->next)
		return;
	unlink_rumour(rumour);
	gossip->nr--;
}

/* In a storm (a thousand hosts start at once) what was told most goes first: anti-entropy brings the rest. */
static void forget_oldest(struct gossip *gossip)
{
	for (size_t level = GOSSIP_TOLD_MAX; level-- > 0;) {
		struct rumour *head = &gossip->heads[level];

		if (head->next != head) {
			gossip_forget(gossip, head->next);
			return;
		}
	}
}

void gossip_tell(struct gossip *gossip, struct rumour *rumour)
{
	gossip_forget(gossip, rumour);
	if (gossip->nr == GOSSIP_QUEUE_MAX)
		forget_oldest(gossip);
	link_at(gossip, rumour, 0);
	gossip->nr++;
	gossip->fresh |= rumour->kind == RUMOUR_ENTRY;
}

static void fill(struct gossip *gossip, struct writer *packet)
{
	struct rumour *told[WIRE_DATAGRAM / WIRE_TLV_HEADER];
	size_t nr = 0, misfits = 0;

	for (uint32_t level = 0; level < gossip->limit && misfits < MISFITS; level++) {
		struct rumour *head = &gossip->heads[level];

		for (struct rumour *at = head->next; at != head && misfits < MISFITS;
		     at = at->next) {
			if (gossip->put[at->kind](packet, at))
				told[nr++] = at;
			else
				misfits++;
		}
	}

	/* Only now, or the next level would tell them again in the same packet. */
	for (size_t i = 0; i < nr; i++) {
		uint8_t level = (uint8_t)(told[i]->told + 1);

		unlink_rumour(told[i]);
		if (level < gossip->limit)
			link_at(gossip, told[i], level);
		else
			gossip->nr--;
	}
}

void gossip_send(struct gossip *gossip, uint32_t to, struct writer *packet)
{
	if (gossip->nr)
		fill(gossip, packet);
	gossip->env->send(gossip->env->data, to, packet->begin, writer_used(packet));
}

void gossip_send_seed(struct gossip *gossip, const char *address, struct writer *packet)
{
	if (gossip->nr)
		fill(gossip, packet);
	gossip->env->send_seed(gossip->env->data, address, packet->begin, writer_used(packet));
}
