// SPDX-License-Identifier: GPL-2.0
/*
 * The datapath's own classifier, run over an array of headers instead of traffic: to compare its verdicts, and to tell
 * what one costs. `touch` does all but the classifying, so that the difference of both is the classifier alone.
 */
#include "../../bpf/classify.h"
#include "classify.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASSIFY_HEADERS);
	__type(key, __u32);
	__type(value, struct classify_header);
} headers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASSIFY_HEADERS);
	__type(key, __u32);
	__type(value, __u32);
} verdicts SEC(".maps");

struct job {
	__u32 ruleset;
	__u32 zero;
};

static __always_inline struct packet *take_header(__u32 index, __u32 *own)
{
	__u32 place = PACKET_PLACE_TRAFFIC;
	struct packet *p = bpf_map_lookup_elem(&packets, &place);
	struct classify_header *header = bpf_map_lookup_elem(&headers, &index);

	if (!p || !header)
		return NULL;
	p->key.local = header->local;
	p->key.remote = header->remote;
	p->key.protocol = header->protocol;
	p->source_port = header->source_port;
	p->destination_port = header->destination_port;
	p->icmp_type = header->icmp_type;
	p->icmp_code = header->icmp_code;
	*own = header->own;
	return p;
}

static __always_inline void give_verdict(__u32 index, __u32 verdict)
{
	__u32 *place = bpf_map_lookup_elem(&verdicts, &index);

	if (place)
		*place = verdict;
}

static long classify_one(__u64 at, void *data)
{
	const struct job *job = data;
	__u32 index = at, own = 0;
	struct packet *p = take_header(index, &own);

	if (!p)
		return 1;
	give_verdict(index, classify(p, job->ruleset, own));
	return 0;
}

static long touch_one(__u64 at, void *data __attribute__((unused)))
{
	__u32 index = at, own = 0;
	struct packet *p = take_header(index, &own);

	if (!p)
		return 1;
	give_verdict(index, p->key.protocol + own);
	return 0;
}

SEC("tc")
int run_classify(struct __sk_buff *skb)
{
	struct classify_request request;
	struct job job = {};

	if (bpf_skb_load_bytes(skb, 0, &request, sizeof(request)) < 0)
		return -1;
	job.ruleset = request.ruleset;
	return bpf_loop(request.nr, classify_one, &job, 0);
}

SEC("tc")
int run_touch(struct __sk_buff *skb)
{
	struct classify_request request;
	struct job job = {};

	if (bpf_skb_load_bytes(skb, 0, &request, sizeof(request)) < 0)
		return -1;
	return bpf_loop(request.nr, touch_one, &job, 0);
}

char LICENSE[] SEC("license") = "GPL";
