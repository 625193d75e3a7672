// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "addr.h"
#include "event_text.h"
#include "util.h"
#include "view_pins.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd

/* Names and topics, by enum dfw_event_type. */
static const struct {
	const char *name;
	char topic;
} kinds[] = {
	[DFW_EVENT_NONE] = {"none", 'd'},
	[DFW_EVENT_FLOW_NEW] = {"flow-new", 'f'},
	[DFW_EVENT_FLOW_CONFIRMED] = {"flow-confirmed", 'f'},
	[DFW_EVENT_FLOW_CLOSED] = {"flow-closed", 'f'},
	[DFW_EVENT_VERDICT] = {"verdict", 'v'},
	[DFW_EVENT_DROP] = {"drop", 'd'},
};

/* ---- Building a text -------------------------------------------------------------------------------------------- */

struct text {
	char *bytes;
	size_t used;
};

static void append(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void append(struct text *text, const char *format, ...)
{
	size_t room = EVENT_TEXT_LEN - text->used;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text->bytes + text->used, room, format, arguments);
	va_end(arguments);
	if (length > 0)
		text->used += (size_t)length < room ? (size_t)length : room - 1;
}

const char *event_time(uint64_t time_ns, char text[EVENT_TIME_LEN])
{
	uint64_t ago_ns = monotonic_ns() - time_ns;
	struct timespec now;
	struct tm tm;
	int64_t us;
	time_t seconds;
	char date[24];

	clock_gettime(CLOCK_REALTIME, &now);
	us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - (int64_t)(ago_ns / 1000);
	seconds = (time_t)(us / 1000000);
	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, EVENT_TIME_LEN, "%s.%06uZ", date, (unsigned int)(us % 1000000) % 1000000);
	return text;
}

/* ---- What an event says ----------------------------------------------------------------------------------------- */

static bool is_flow(const struct dfw_event *event)
{
	return event->type == DFW_EVENT_FLOW_NEW || event->type == DFW_EVENT_FLOW_CONFIRMED ||
	       event->type == DFW_EVENT_FLOW_CLOSED;
}

/* The end of a flow that was swept or killed comes with no packet: its key tells the family. */
static uint16_t ethertype(const struct dfw_event *event)
{
	if (!is_flow(event))
		return event->ethertype;
	return addr_is_v4(&event->key.local) ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
}

static bool has_packet(const struct dfw_event *event)
{
	return event->ethertype != 0;
}

static bool is_ip(const struct dfw_event *event)
{
	return ethertype(event) == ETHERTYPE_IPV4 || ethertype(event) == ETHERTYPE_IPV6;
}

static bool is_icmp(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* The rest of the key's remote_port says who asks; see struct dfw_flow_key. */
static unsigned int icmp_type(const struct dfw_flow_key *key)
{
	return key->remote_port & 0xff;
}

/* The ends as the packet had them; those of a flow as its first packet had them. */
struct ends {
	char src[ADDR_TEXT_LEN];
	char dst[ADDR_TEXT_LEN];
	uint16_t sport;
	uint16_t dport;
	uint8_t direction;
};

static void event_ends(const struct dfw_event *event, struct ends *ends)
{
	const struct dfw_flow_key *key = &event->key;

	ends->direction = is_flow(event) ? event->initiator : event->direction;
	if (ends->direction == DFW_OUT) {
		addr_format(&key->local, ends->src);
		addr_format(&key->remote, ends->dst);
		ends->sport = key->local_port;
		ends->dport = key->remote_port;
	} else {
		addr_format(&key->remote, ends->src);
		addr_format(&key->local, ends->dst);
		ends->sport = key->remote_port;
		ends->dport = key->local_port;
	}
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* Names of rules are of the policy's making, but no reason to publish broken JSON. */
static void append_quoted(struct text *text, const char *value)
{
	append(text, "\"");
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			append(text, "\\%c", *value);
		else if ((unsigned char)*value < ' ')
			append(text, "\\u%04x", *value);
		else
			append(text, "%c", *value);
	}
	append(text, "\"");
}

static void append_ends(struct text *text, const struct dfw_event *event, const struct ends *ends)
{
	const struct dfw_flow_key *key = &event->key;
	char name[16];

	append(text, ",\"proto\":\"%s\",\"src\":\"%s\",\"dst\":\"%s\"",
	       protocol_name(key->protocol, name), ends->src, ends->dst);
	if (is_icmp(key->protocol))
		append(text, ",\"icmp_type\":%u,\"icmp_id\":%u", icmp_type(key), key->local_port);
	else
		append(text, ",\"sport\":%u,\"dport\":%u", ends->sport, ends->dport);
	if (key->vlan)
		append(text, ",\"vlan\":%u", key->vlan);
}

static void append_verdict(struct text *text, const struct event_view *view)
{
	const struct dfw_event *event = view->event;

	append(text, ",\"action\":\"%s\",\"reason\":\"%s\",\"rule\":", action_name(event->action),
	       reason_name(event->reason));
	append_quoted(text, view->rule);
	append(text, ",\"rule_id\":%u,\"generation\":%u", event->rule, event->generation);
	if (event->type == DFW_EVENT_DROP)
		append(text, ",\"suppressed\":%u", event->suppressed);
}

static void append_flow(struct text *text, const struct dfw_event *event)
{
	append(text, ",\"state\":\"%s\"", flow_state_name(event->state));
	append(text, ",\"packets\":{\"orig\":%llu,\"reply\":%llu}",
	       (unsigned long long)event->packets[DFW_ORIG],
	       (unsigned long long)event->packets[DFW_REPLY]);
	append(text, ",\"bytes\":{\"orig\":%llu,\"reply\":%llu}",
	       (unsigned long long)event->bytes[DFW_ORIG],
	       (unsigned long long)event->bytes[DFW_REPLY]);
}

size_t event_json(const struct event_view *view, char bytes[EVENT_TEXT_LEN])
{
	const struct dfw_event *event = view->event;
	uint8_t type = event->type < ARRAY_SIZE(kinds) ? event->type : DFW_EVENT_NONE;
	struct text text = {.bytes = bytes};
	char time[EVENT_TIME_LEN], mac[MAC_TEXT_LEN];
	struct ends ends;

	event_ends(event, &ends);
	append(&text, "%c {\"time\":\"%s\",\"event\":\"%s\",\"seq\":%llu,\"vport\":\"%s\"",
	       kinds[type].topic, event_time(event->time_ns, time), kinds[type].name,
	       (unsigned long long)view->sequence, view->vport);
	append(&text, ",\"direction\":\"%s\"", direction_name(ends.direction));
	if (has_packet(event))
		append(&text, ",\"mac\":\"%s\"", mac_format(event->mac, mac));
	append(&text, ",\"ethertype\":%u", ethertype(event));
	if (is_ip(event))
		append_ends(&text, event, &ends);
	append_verdict(&text, view);
	if (is_flow(event))
		append_flow(&text, event);
	append(&text, "}");
	return text.used;
}

/* ---- The log ---------------------------------------------------------------------------------------------------- */

void event_log_line(const struct event_view *view, char bytes[EVENT_TEXT_LEN])
{
	const struct dfw_event *event = view->event;
	const struct dfw_flow_key *key = &event->key;
	struct text text = {.bytes = bytes};
	char name[16], mac[MAC_TEXT_LEN];
	struct ends ends;

	event_ends(event, &ends);
	append(&text, "vport=%s direction=%s action=%s reason=%s rule=%s", view->vport,
	       direction_name(ends.direction), action_name(event->action),
	       reason_name(event->reason), view->rule);
	if (!is_ip(event)) {
		append(&text, " ethertype=%#06x mac=%s", event->ethertype,
		       mac_format(event->mac, mac));
		return;
	}
	append(&text, " proto=%s", protocol_name(key->protocol, name));
	if (is_icmp(key->protocol))
		append(&text, " src=%s dst=%s type=%u id=%u", ends.src, ends.dst, icmp_type(key),
		       key->local_port);
	else
		append(&text, " src=%s sport=%u dst=%s dport=%u", ends.src, ends.sport, ends.dst,
		       ends.dport);
	if (key->vlan)
		append(&text, " vlan=%u", key->vlan);
}
