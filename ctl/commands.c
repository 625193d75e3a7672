// SPDX-License-Identifier: GPL-2.0
/* What dfwctl can do, once: see command.h. */
#include "cluster_config.h"
#include "command.h"
#include "store.h"
#include "util.h"
#include "value.h"

const struct option_spec global_options[] = {
	{.name = "--instance",
	 .letter = 'i',
	 .argument = "INSTANCE",
	 .help = "the firewall to talk about, when a machine has several (\"default\")",
	 .check = check_instance,
	 .completion = COMPLETE_INSTANCE},
	{.name = "--json", .letter = 'j', .help = "print JSON; the names of its fields are stable"},
	{.name = "--no-color", .help = "no colours, whatever the terminal can"},
	{.name = "--help", .letter = 'h', .help = "usage, of the command if there is one"},
	{.name = "--version", .help = "the version of dfwctl"},
	{.name = "--man", .help = "print this man page, in roff", .rare = true},
	{.name = "--bash-completion", .help = "print the completion script of bash", .rare = true},
};
const size_t nr_global_options = ARRAY_SIZE(global_options);

#define VPORT_OPTIONS(needed)                                                           \
	{.name = "--dev",                                                               \
	 .argument = "IF",                                                              \
	 .help = "its network device, which may be there later",                        \
	 .check = check_device,                                                         \
	 .completion = COMPLETE_DEVICE,                                                 \
	 .required = needed},                                                           \
		{.name = "--mac",                                                       \
		 .argument = "MAC",                                                     \
		 .help = "the VM's MAC address",                                        \
		 .check = check_mac,                                                    \
		 .required = needed},                                                   \
		{.name = "--ip",                                                        \
		 .argument = "ADDR",                                                    \
		 .help = "an IP address of the VM",                                     \
		 .check = check_address,                                                \
		 .repeats = true,                                                       \
		 .required = needed},                                                   \
		{.name = "--tag",                                                       \
		 .argument = "K=V",                                                     \
		 .help = "a tag, for the groups of the policy",                         \
		 .check = check_tag,                                                    \
		 .repeats = true},                                                      \
		{.name = "--profile",                                                   \
		 .argument = "P",                                                       \
		 .help = "its profile, as the policy defines it (\"default\")",         \
		 .check = check_profile,                                                \
		 .completion = COMPLETE_PROFILE},                                       \
	{                                                                               \
		.name = "--share", .argument = "GROUP",                                 \
		.help = "its share group, in a cluster; '': none", .check = check_share \
	}

static const struct option_spec vport_add_options[] = {
	VPORT_OPTIONS(true),
	{.name = "--moved",
	 .help = "in a cluster: another host has it until now, its VM has come here"},
};
static const struct option_spec vport_set_options[] = {VPORT_OPTIONS(false)};

#define FLOW_FILTER_OPTIONS                                                                \
	{.name = "--proto",                                                                \
	 .argument = "P",                                                                  \
	 .help = "of this IP protocol: a name or a number",                                \
	 .check = check_protocol,                                                          \
	 .completion = COMPLETE_PROTOCOL},                                                 \
		{.name = "--addr",                                                         \
		 .argument = "A",                                                          \
		 .help = "with this address, or an address of this prefix, at either end", \
		 .check = check_prefix},                                                   \
	{                                                                                  \
		.name = "--port", .argument = "N", .help = "with this port at either end", \
		.check = check_port                                                        \
	}

static const struct option_spec uplink_options[] = {
	{.name = "--mode",
	 .argument = "MODE",
	 .help = "XDP at the driver (native), on skbs (generic), or at the driver where that costs "
		 "nothing (auto, which is what holds otherwise)",
	 .check = check_uplink_mode,
	 .completion = COMPLETE_MODE},
	{.name = "--fast-path",
	 .argument = "on|off",
	 .help = "may packets go past the bridge, to and from this uplink (\"on\")",
	 .check = check_switch,
	 .completion = COMPLETE_SWITCH},
};

static const struct option_spec group_options[] = {
	{.name = "--file",
	 .argument = "FILE",
	 .help = "of a file, one a line; - is the standard input",
	 .check = check_file,
	 .completion = COMPLETE_FILE},
};

static const struct option_spec flow_options[] = {
	{.name = "--vport",
	 .argument = "V",
	 .help = "of this vport only",
	 .check = check_vport,
	 .completion = COMPLETE_VPORT},
	FLOW_FILTER_OPTIONS,
};

static const struct option_spec flow_kill_options[] = {
	{.name = "--vport",
	 .argument = "V",
	 .help = "of this vport only",
	 .check = check_vport,
	 .completion = COMPLETE_VPORT},
	FLOW_FILTER_OPTIONS,
	{.name = "--host",
	 .argument = "HOST",
	 .help = "in a cluster: on that host",
	 .check = check_vport},
	{.name = "--everywhere", .help = "in a cluster: on all living hosts"},
};

static const struct option_spec flow_find_options[] = {FLOW_FILTER_OPTIONS};

static const struct option_spec rules_options[] = {
	{.name = "--hits",
	 .help = "in a cluster: sums over all vports of all hosts, or over all hosts of VPORT"},
};

static const struct option_spec status_options[] = {
	{.name = "--wait",
	 .argument = "SECONDS",
	 .help = "wait so long for dfwd to be ready",
	 .check = check_seconds},
	{.name = "--drift",
	 .help = "in a cluster: does the kernel of each host enforce what the policy says"},
};

#define OWN_ADDRESS(needed)                                                               \
	{.name = "--address",                                                             \
	 .argument = "ADDR[:PORT]",                                                       \
	 .help = "where this host listens for the others, with the next port too (7472)", \
	 .check = check_cluster_address,                                                  \
	 .required = needed}
#define REPLICAS                                                                            \
	{.name = "--replicas",                                                              \
	 .argument = "N",                                                                   \
	 .help = "how many other hosts keep a copy of the flows of this host's vports (1)", \
	 .check = check_replicas}

#define OWN_STORE(words) \
	{.name = "--store", .argument = "STORE", .help = words, .check = check_store}

static const struct option_spec cluster_init_options[] = {
	{.name = "--name",
	 .argument = "NAME",
	 .help = "name of this host (the machine's)",
	 .check = check_host_name},
	OWN_ADDRESS(true),
	REPLICAS,
	OWN_STORE("where the policy lies: local, or etcd=URL[,URL].. (local)"),
	STORE_OPTIONS,
};

static const struct option_spec cluster_invite_options[] = {
	{.name = "--request",
	 .argument = "FILE",
	 .help = "what `cluster request` printed on the new host; - is the standard input",
	 .check = check_file,
	 .completion = COMPLETE_FILE},
	{.name = "--operator", .help = "it may ask for what changes other hosts"},
	{.name = "--out",
	 .argument = "FILE",
	 .help = "write it there, mode 0600, and not to the standard output",
	 .check = check_file,
	 .completion = COMPLETE_FILE},
};

static const struct option_spec cluster_join_options[] = {
	OWN_ADDRESS(false), REPLICAS,
	OWN_STORE("where the policy lies, if not where it does for who invites"), STORE_OPTIONS};

static const struct option_spec cluster_revoke_options[] = {
	{.name = "--old", .help = "only its former certificates: it stays a member by the newest"},
};

static const struct option_spec cluster_rotate_options[] = {
	{.name = "--ca", .help = "a new key of the CA, and new certificates for all hosts"},
	{.name = "--retire", .help = "with --ca: trust the newest key of the CA only"},
	{.name = "--force", .help = "with --retire: even if hosts have no new certificate yet"},
};

static const struct option_spec cluster_store_options[] = {STORE_OPTIONS};

static const struct option_spec vport_list_options[] = {
	{.name = "--local", .help = "of this host only, as its kernel has them"},
};

/* Of applying and of rolling back. */
static const struct option_spec policy_apply_options[] = {
	{.name = "--wait",
	 .argument = "[SECONDS]",
	 .help = "in a cluster: wait so long (30) until every living host has realised it",
	 .check = check_seconds,
	 .open = true},
};

static const struct option_spec policy_show_options[] = {
	{.name = "--json-model", .help = "the JSON form of the policy, as -j"},
};

static const struct option_spec watch_options[] = {
	{.name = "--flows", .help = "flows that begin, are confirmed, end"},
	{.name = "--verdicts", .help = "verdicts of rules with `log`"},
	{.name = "--drops", .help = "drops for other reasons than a rule's"},
	{.name = "--count",
	 .argument = "N",
	 .help = "end after so many events",
	 .check = check_count},
	{.name = "--seconds",
	 .argument = "N",
	 .help = "end after so many seconds",
	 .check = check_seconds},
};

static const struct option_spec migrate_prepare_options[] = {
	{.name = "--to",
	 .argument = "HOST",
	 .help = "the host it moves to",
	 .check = check_vport,
	 .required = true},
	{.name = "--strict", .help = "rather refuse than lose a flow"},
	{.name = "--wait",
	 .argument = "SECONDS",
	 .help = "wait so long (60) until it could be paused; 0: begin only",
	 .check = check_seconds},
};

static const struct option_spec shutdown_options[] = {
	{.name = "--detach",
	 .help = "take everything out of the kernel: nothing is filtered any more"},
};

#define VPORT_ARGUMENT(described) \
	{.name = "NAME", .help = described, .check = check_vport, .completion = COMPLETE_VPORT}
#define UPLINK_ARGUMENT(described) \
	{.name = "IF", .help = described, .check = check_device, .completion = COMPLETE_DEVICE}
#define GROUP_ARGUMENT                            \
	{.name = "GROUP",                         \
	 .help = "name of a group of the policy", \
	 .check = check_group,                    \
	 .completion = COMPLETE_GROUP}
#define MEMBER_ARGUMENTS(described) \
	{.name = "ADDRESS",         \
	 .help = described,         \
	 .check = check_prefix,     \
	 .optional = true,          \
	 .repeats = true}
#define POLICY_FILE                                   \
	{.name = "FILE",                              \
	 .help = "a policy; - is the standard input", \
	 .check = check_file,                         \
	 .completion = COMPLETE_FILE}

static const struct field_spec status_fields[] = {
	{"instance", "name of the instance"},
	{"version", "version of dfwd"},
	{"pid", "its process id"},
	{"ready",
	 "true: policy is in place, and every device of a vport that is there is filtered"},
	{"uptime_ms", "how long dfwd runs"},
	{"generation", "the policy generation in force, 0: none"},
	{"revision",
	 "counts what was brought into force on this host: policies and changes of vports"},
	{"active_since_ms", "how long that has been in force"},
	{"vports", "vports known"},
	{"attached", "vports whose device is there and filtered"},
	{"flows", "confirmed flows of all vports"},
	{"events_lost", "events that did not fit the ring buffer"},
	{"log_suppressed", "log lines left out by the rate limit"},
	{"changes_in_place", "changes of groups and vports since dfwd's start that changed the "
			     "tables in force"},
	{"changes_staged", "those for which all was compiled and staged anew"},
	{"changes_no_room", "of these, for want of room in the tables in force"},
	{"dfwsyncd", "true: dfwsyncd runs, and they have each other"},
	{"held", "array of the vports that deny everything until a move has ended"},
	{"held[].vport", "name of the vport"},
	{"held[].ms", "for how long; null: since before dfwd began"},
	{"held[].why", "in words"},
};

static const struct field_spec vport_fields[] = {
	{"name", "name of the vport"},
	{"dev", "its network device; null when dfwd's file does not know the vport"},
	{"macs", "array of its MAC addresses"},
	{"ips", "array of its IP addresses, as given"},
	{"derived_ips", "array of its link-local addresses that its MAC addresses make"},
	{"learned_ips", "array of the addresses that it has learned, see learn-addresses in "
			"dfw-policy(5)"},
	{"vlans", "array of the VLAN ids of a trunk port; empty: an access port"},
	{"tags", "object of its tags"},
	{"profile", "name of its profile"},
	{"share", "the share group that it is a member of; \"\": none"},
	{"pattern", "the device name pattern of dfwd's configuration that made it; empty: made by "
		    "`vport add`"},
	{"uuid", "what it is called across hosts"},
	{"epoch", "of its ownership: grows with each move"},
	{"attached", "true: its device is there and filtered in both directions"},
	{"ready", "true: a policy is realised; until then everything is dropped"},
	{"held", "true: everything is dropped until it has moved, see "
		 "Vports that are held in dfwsyncd(8)"},
	{"held_ms",
	 "for how long; null: it is not held, since before dfwd began, or dfwd does not run "
	 "(of `vport show` only, as the next)"},
	{"held_why", "in words; null as above"},
	{"slot", "its index in the kernel's maps; null: nothing of it is in the kernel"},
	{"flows", "confirmed flows; null as above"},
	{"max_flows", "the most it may have; null as above"},
};

static const struct field_spec cluster_status_fields[] = {
	{"instance", "name of the instance"},
	{"host", "name of this host"},
	{"writer", "the host that writes the policy, with etcd the one that wrote it last; null: "
		   "none has yet"},
	{"store", "where the policy lies: \"local\" or \"etcd\""},
	{"etcd", "null with the local store; else an object: endpoint, reachable, watching, "
		 "since_ms (since "
		 "when it is reachable, or not), revision (of the manifest), error (the last one), "
		 "and what "
		 "was counted since dfwsyncd started; see dfw-etcd(7)"},
	{"term", "counts the writers"},
	{"generation", "the policy generation in force in the cluster, 0: none"},
	{"staged", "the one that is being brought to all hosts, 0: none"},
	{"skew_ms",
	 "between the first and the last host that brought the generation into force; null: fewer "
	 "than two hosts know"},
	{"skew_error_ms", "how wrong that may be"},
	{"conflicts", "vports that claim a name or an address of another one"},
	{"hosts", "array, this host first"},
	{"hosts[].host", "its name; its id when it has not told"},
	{"hosts[].id", "what it is called in certificates"},
	{"hosts[].address", "where it listens"},
	{"hosts[].state", "alive, suspect, dead, left, leaving"},
	{"hosts[].self", "true: this host"},
	{"hosts[].writer", "true: it writes the policy"},
	{"hosts[].staged", "the generation that it could bring into force at once"},
	{"hosts[].active", "the generation that it has in force"},
	{"hosts[].behind", "how many generations that is behind the cluster's (LAG)"},
	{"hosts[].heard_ms", "since something came from it; null: nothing did"},
	{"hosts[].certificate",
	 "name, serial, operator, issuer; null: there was no session with it"},
	{"hosts[].version", "of its dfwsyncd; this and what follows only if it answers"},
	{"hosts[].life", "counts the starts of its dfwsyncd"},
	{"hosts[].uptime_ms", "how long that runs"},
	{"hosts[].dfwd", "true: its dfwd is there"},
	{"hosts[].error", "why it does not follow, or does not answer; null: nothing is wrong"},
};

static const struct field_spec cluster_init_fields[] = {
	{"host", "name of this host"},
	{"id", "what it is called in certificates"},
	{"cluster", "the cluster's id"},
};

static const struct field_spec cluster_join_fields[] = {
	{"host", "name of this host"},
	{"id", "what it is called in certificates"},
};

static const struct field_spec charter_fields[] = {
	{"charter", "version of the charter that says so; with rotate without --ca instead host, "
		    "the name of this host"},
};

static const struct field_spec store_fields[] = {
	{"store", "\"local\", or an object with the array etcd of URLs"},
};

static const struct field_spec migrate_fields[] = {
	{"vport", "its name"},
	{"role", "what the vport is to the host that was asked: active, handover, released, "
		 "replica, prepared, staged, pulling, none"},
	{"phase",
	 "where the move stands: none; on the source preparing, precopy, pausing, offered, "
	 "handed-over, rolling-back; on the destination arriving, staged, pulling"},
	{"peer", "the other host of the move; \"\": none"},
	{"safe", "true: the VM could be paused now"},
	{"flows", "that the host knows of the vport"},
	{"behind", "changes of flows that the other host does not have"},
	{"behind_ms", "age of the oldest of them"},
	{"took_us", "how long the command took dfwsyncd"},
};

static const struct field_spec sync_status_fields[] = {
	{"vports", "array, the vports of this host"},
	{"vports[].vport", "its name"},
	{"vports[].role", "as of `migrate status`; so are phase, flows, peer, safe, behind"},
	{"vports[].epoch", "of its ownership: grows with each move"},
	{"vports[].share", "its share group; \"\": none"},
	{"vports[].strict", "true: its move refuses rather than loses"},
	{"vports[].held", "true: it denies everything"},
	{"vports[].peers", "array, the hosts that get its flows"},
	{"vports[].peers[].host", "its name"},
	{"vports[].peers[].changes", "changes that it does not have yet (BEHIND)"},
	{"vports[].peers[].ms", "age of the oldest of them"},
	{"vports[].peers[].safe", "true: a move to it could be paused now"},
	{"vports[].peers[].room", "false: it has no room for more flows"},
	{"vports[].peers[].shares", "true: a member of the vport's share group is there"},
	{"vports[].result", "how its last move ended or why it stands, in words"},
	{"counters", "object: what was dropped, refused or begun anew, by name"},
};

static const struct field_spec sync_counters_fields[] = {
	{"network", "object: of sessions and messages between hosts, by name"},
	{"core",
	 "object: of members, vports, flows and policy, by name; as counters of `sync status`"},
};

static const struct field_spec takeover_fields[] = {
	{"writer", "name of this host"},
	{"term", "the new term"},
	{"generation", "the generation in force"},
};

static const struct field_spec vport_del_fields[] = {
	{"deleted", "name of the vport"},
};

static const struct field_spec uplink_change_fields[] = {
	{"name", "its network device"},
	{"mode", "auto, native or generic: what was asked for"},
	{"fast_path", "true: packets may go past the bridge"},
	{"configured", "true: dfwd's configuration made it"},
	{"ifindex", "index of the device; 0: it is not there"},
};

static const struct field_spec uplink_fields[] = {
	{"name", "its network device"},
	{"attached", "true: the device is there"},
	{"hook",
	 "native (XDP at the driver, and tc), generic (XDP on skbs, and tc), tc (alone), or "
	 "none: no device"},
	{"cause", "why auto did without XDP, see UPLINKS; with hook tc only"},
	{"shared", "true: XDP programs of others run there, too, or can"},
	{"fast_path", "true: packets may go past the bridge"},
	{"direct", "frames that came in here and went straight to a vport's device"},
	{"dropped", "frames that XDP dropped for their vport"},
	{"normal", "frames that came in here and took the bridge"},
};

static const struct field_spec uplink_stats_fields[] = {
	{"uplink", "name of the uplink where the frames came in; none: they came from vports"},
	{"hook", "xdp or tc: who counted. What XDP lets go the normal way comes to tc"},
	{"ways", "array of the ways that there were"},
	{"ways[].way", "name of the way, see UPLINKS"},
	{"ways[].kind", "taken: the frame did not need the bridge; normal: it took the bridge, and "
			"this is why; learnt: what was learnt where it came out"},
	{"ways[].frames", "their number; merged ones count once"},
};

static const struct field_spec uplink_del_fields[] = {
	{"deleted", "name of the uplink"},
};

static const struct field_spec group_fields[] = {
	{"name", "name of the group"},
	{"policy", "members that the policy names"},
	{"added", "members that group add has put in"},
};

static const struct field_spec member_fields[] = {
	{"member", "an address, a prefix, or another member in the policy's language"},
	{"added", "true: by group add; false: the policy names it"},
};

static const struct field_spec group_add_fields[] = {
	{"group", "name of the group"},
	{"added", "members that were not there before"},
	{"members", "members of run time that it has now"},
};

static const struct field_spec group_del_fields[] = {
	{"group", "name of the group"},
	{"removed", "members that are gone"},
	{"members", "members of run time that it has now"},
};

static const struct field_spec check_fields[] = {
	{"valid", "true or false"},
	{"errors", "array, empty when valid"},
	{"errors[].file", "name of the file"},
	{"errors[].line", "from 1; 0: no place"},
	{"errors[].column", "from 1, in bytes"},
	{"errors[].text", "what is wrong, what would be right"},
	{"unreported", "how many errors more there are"},
};

static const struct field_spec apply_fields[] = {
	{"generation", "the new generation"},
	{"vports", "vports it was realised for"},
	{"rules", "rules realised, of all rule sets"},
	{"took_us.all", "what it took dfwd, in microseconds; of that, in order:"},
	{"took_us.parse", "reading the texts"},
	{"took_us.compile", "working out tables and rule sets"},
	{"took_us.make", "making maps of them"},
	{"took_us.put", "putting those in their place, with a wait for packets on their way"},
	{"took_us.settle", "behind the moment at which all holds: another wait, counters, pins"},
	{"realised", "in a cluster, instead of both: true: this host, or with --wait every living "
		     "host, has it in "
		     "force"},
	{"hosts", "in a cluster: array of the hosts that were looked at"},
	{"hosts[].host", "its name"},
	{"hosts[].active", "the generation it has in force"},
	{"hosts[].realised", "true: that one, or a later one"},
	{"hosts[].error", "why not, if it is known"},
};

static const struct field_spec history_fields[] = {
	{"generation", "its number"},
	{"applied_at", "when it came into force, as dfwd wrote it"},
	{"cause", "what it came from: apply, rollback, ..."},
	{"main", "name of the main file"},
	{"active", "true: this one is in force"},
};

static const struct field_spec rollback_fields[] = {
	{"generation", "the new generation"},
	{"from", "the generation whose policy it has"},
};

static const struct field_spec rules_fields[] = {
	{"direction", "\"in\": to the VM, \"out\": from it"},
	{"slot", "place in the order of rules of that direction, from 0; the default is the last"},
	{"id", "stable id: it stays when rules around it come and go"},
	{"name", "\"tier/name\", or \"default in\", \"default out\""},
	{"action", "allow, drop, reject or pass"},
	{"text", "the rule in the language; null when dfwd's copy of the policy is not there"},
	{"packets", "packets it decided: all of its flows"},
	{"bytes", "their IP bytes"},
	{"flows", "flows it allowed"},
	{"last_hit_ms", "since the last of these packets; null: never"},
	{"on_change", "revalidate, keep or kill"},
	{"log", "true: verdicts are logged"},
	{"stateless", "true: it makes no flows"},
	{"default", "true: what holds when no rule matched"},
	{"max_flows", "limit on its live flows, 0: none"},
	{"new_per_second", "limit on its new flows, 0: none"},
	{"vports", "with --hits: how many vports have it"},
};

static const struct field_spec flow_fields[] = {
	{"vport", "whose flow it is"},
	{"proto", "tcp, udp, icmp, icmp6, sctp, ... or the number of the protocol"},
	{"initiator", "\"out\": the VM began it, \"in\": the other end"},
	{"src", "address of who began it"},
	{"sport", "its port; 0 for ICMP and protocols without ports"},
	{"dst", "address of the other end"},
	{"dport", "its port; 0 as above"},
	{"state", "state of the connection, e.g. tcp-established, udp-new"},
	{"rule",
	 "\"tier/name\" of the rule that allowed it; \"#\" and its id in hex when no policy at "
	 "hand knows it any more"},
	{"generation", "the policy generation that decided it"},
	{"packets.orig", "packets of who began it"},
	{"packets.reply", "packets of the other end"},
	{"bytes.orig", "IP bytes of who began it"},
	{"bytes.reply", "IP bytes of the other end"},
	{"age_ms", "since its first packet"},
	{"idle_ms", "since its last packet"},
	{"expires_ms", "until it ends if nothing more comes"},
	{"icmp_id", "identifier of an ICMP query; with ICMP and ICMPv6 only"},
	{"icmp_type", "type of the request; with ICMP and ICMPv6 only"},
	{"vlan", "VLAN id; with tagged frames only"},
};

static const struct field_spec find_fields[] = {
	{"proto", "protocol, as of `flow list`"},
	{"src", "address of who began it"},
	{"sport", "its port"},
	{"dst", "address of the other end"},
	{"dport", "its port"},
	{"source",
	 "the flow at the vport that began it: an object of `flow list` with host; or null"},
	{"destination", "the flow at the vport of the other end, likewise; or null"},
};

static const struct field_spec kill_fields[] = {
	{"killed", "number of flows"},
	{"busy",
	 "number of flows that could not be killed, since other CPUs held them all the time: "
	 "they go on, and the exit status is 1"},
};

static const struct field_spec stats_fields[] = {
	{"vport", "name of the vport"},
	{"in", "packets to the VM"},
	{"in.passed.packets", "passed"},
	{"in.passed.bytes", "their IP bytes"},
	{"in.dropped.packets", "dropped, for all reasons"},
	{"in.dropped.bytes", "their IP bytes"},
	{"in.reasons", "array of the reasons that there were"},
	{"in.reasons[].reason", "name of the reason, see REASONS"},
	{"in.reasons[].packets", "dropped for it"},
	{"in.reasons[].bytes", "their IP bytes"},
	{"out", "packets from the VM, with the same members"},
};

static const struct field_spec shutdown_fields[] = {
	{"detached", "true: nothing is enforced any more"},
};

#define OPTIONS(list) .options = (list), .nr_options = ARRAY_SIZE(list)
#define FIELDS(list)  .fields = (list), .nr_fields = ARRAY_SIZE(list)

const struct command commands[] = {
	{.name = "status",
	 OPTIONS(status_options),
	 .help = "is dfwd there, and what is in force",
	 .details =
		 "Exits with 3 at once when dfwd is not there. With --wait it asks until dfwd is "
		 "ready, and exits with 3 (not there) or 1 (not ready) when the time is over.",
	 .json = "An object; with --drift an array of objects, one a host, with host, generation, "
		 "object (the policy's "
		 "hash), vports, hash (of rules and tables, read back from the kernel), wanted (of "
		 "those of the policy) and drifted (an array of vport, what):",
	 FIELDS(status_fields),
	 .run = run_status},
	{.name = "vport add",
	 .argument = {.name = "NAME", .help = "name of the new vport", .check = check_vport},
	 OPTIONS(vport_add_options),
	 .help = "add the port of a VM",
	 .details = "The device need not exist yet: it is filtered from the first packet after it "
		    "appears. Without a policy everything is dropped. With an IPv6 address it also "
		    "has the link-local address that its MAC makes, unless --ip names one.\n"
		    "In a cluster names are the cluster's. With --moved it is the vport of that "
		    "name of another host, for a VM that moved without `migrate`: it denies until "
		    "its flows have been pulled from there, which that host grants when the device "
		    "is gone there, or from a copy when the host is gone.\n"
		    "Vports on different hosts with the same --share stand for the same addresses, "
		    "as two routers of a pair or next hops of equal cost do; each is given those "
		    "addresses by --ip. Up to eight of them tell each other of every flow at once: "
		    "what left through one host may come back through another, and goes on when "
		    "one dies. What `flow kill` ends on one ends on all; each decides flows by its "
		    "own policy. TCP sequence numbers may lie 16 MiB ahead of what a host has "
		    "seen.",
	 .json = "The object of `vport show`.",
	 .run = run_vport_add},
	{.name = "vport set",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 OPTIONS(vport_set_options),
	 .help = "change a vport",
	 .details = "What is not named stays. Addresses and tags are replaced as a whole: name all "
		    "that shall be there.",
	 .json = "The object of `vport show`.",
	 .run = run_vport_set},
	{.name = "vport del",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 .help = "remove a vport and its flows",
	 .details =
		 "Its device, if it is there, is not filtered any more. A vport that a [vports] "
		 "section of the configuration makes stays while its device is there, see dfwd(8).",
	 .json = "An object:",
	 FIELDS(vport_del_fields),
	 .run = run_vport_del},
	{.name = "vport list",
	 OPTIONS(vport_list_options),
	 .help = "all vports, of all hosts",
	 .details =
		 "In a cluster the vports of all hosts, as the cluster knows them, with the host "
		 "that each is on. STATE is \"enforcing\"; \"no policy\" (everything is dropped); "
		 "\"no device\" (it "
		 "waits for its device); \"not realised\" (known on disk, not in the kernel); "
		 "\"moving\" (everything is dropped until it has moved); \"conflict\" (another "
		 "vport has "
		 "the name or an address by the better right: groups of other hosts do not mean "
		 "this one).",
	 .json = "An array of objects as of `vport show`, sorted by name; in a cluster with host, "
		 "held (true: it is "
		 "moving), conflict (the host of the vport that it is in conflict with, or null) "
		 "and learned, but without what only the host itself knows.",
	 .run = run_vport_list},
	{.name = "vport show",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 .help = "one vport",
	 .json = "An object:",
	 FIELDS(vport_fields),
	 .run = run_vport_show},
	{.name = "uplink add",
	 .argument = UPLINK_ARGUMENT("the device behind which the wire is"),
	 OPTIONS(uplink_options),
	 .help = "meet frames at the wire, and let packets go past the bridge",
	 .details = "The device may come later. Nothing is enforced here that the vports would not "
		    "enforce, and no verdict becomes another: see UPLINKS.",
	 .json = "An object:",
	 FIELDS(uplink_change_fields),
	 .run = run_uplink_add},
	{.name = "uplink set",
	 .argument = UPLINK_ARGUMENT("the uplink"),
	 OPTIONS(uplink_options),
	 .help = "change an uplink",
	 .details = "What is not named stays. One that dfwd's configuration made is to be changed "
		    "there.",
	 .json = "The object of `uplink add`.",
	 .run = run_uplink_set},
	{.name = "uplink del",
	 .argument = UPLINK_ARGUMENT("the uplink"),
	 .help = "let all packets take the bridge again",
	 .json = "An object:",
	 FIELDS(uplink_del_fields),
	 .run = run_uplink_del},
	{.name = "uplink list",
	 .help = "uplinks, and how much goes past the bridge",
	 .json = "An array of objects:",
	 FIELDS(uplink_fields),
	 .run = run_uplink_list},
	{.name = "uplink stats",
	 .argument = {.name = "IF",
		      .help = "the uplink (all, and what vports send)",
		      .check = check_device,
		      .completion = COMPLETE_DEVICE,
		      .optional = true},
	 .help = "frames by the way they took, and why",
	 .json = "An array of objects:",
	 FIELDS(uplink_stats_fields),
	 .run = run_uplink_stats},
	{.name = "group list",
	 .help = "the groups of the policy in force",
	 .details = "POLICY counts the members that the policy names, ADDED the addresses and "
		    "prefixes that `group add` has put in.",
	 .json = "An array of objects, in the order of the policy:",
	 FIELDS(group_fields),
	 .run = run_group_list},
	{.name = "group show",
	 .argument = GROUP_ARGUMENT,
	 .help = "the members of a group",
	 .json = "An array of objects:",
	 FIELDS(member_fields),
	 .run = run_group_show},
	{.name = "group add",
	 .argument = GROUP_ARGUMENT,
	 .more = MEMBER_ARGUMENTS("an address or a prefix"),
	 OPTIONS(group_options),
	 .help = "put addresses in a group, on this host",
	 .details = "Enforced when the command returns: flows that exist are decided anew on their "
		    "next "
		    "packet. Each address is a change of its own, and no packet sees half of one. "
		    "They "
		    "stay when another policy comes that has a group of that name, and when dfwd "
		    "starts anew. What is in already, stays.",
	 .json = "An object:",
	 FIELDS(group_add_fields),
	 .run = run_group_add},
	{.name = "group del",
	 .argument = GROUP_ARGUMENT,
	 .more = MEMBER_ARGUMENTS("an address or a prefix, as `group show` has it"),
	 OPTIONS(group_options),
	 .help = "take addresses out of a group again",
	 .details = "Those that `group add` has put in; members that the policy names go with it.",
	 .json = "An object:",
	 FIELDS(group_del_fields),
	 .run = run_group_del},
	{.name = "policy check",
	 .argument = POLICY_FILE,
	 .help = "is it a valid policy",
	 .details = "Needs neither dfwd nor privileges. Errors are printed on stderr as "
		    "file:line:column: what is wrong, what would be right.",
	 .json = "An object:",
	 FIELDS(check_fields),
	 .run = run_policy_check},
	{.name = "policy apply",
	 .argument = POLICY_FILE,
	 OPTIONS(policy_apply_options),
	 .help = "bring a policy into force",
	 .details =
		 "The file and all that it includes are checked here, then sent to dfwd, which "
		 "realises them as a new generation. Every packet sees either the old policy or "
		 "the new one. After an error nothing has changed.\n"
		 "In a cluster this is done on the writer, and on it alone, or on any operator if "
		 "the policy lies in etcd: it becomes a generation of all hosts, which stage it "
		 "first and bring it into force together.",
	 .json = "An object; for an invalid policy that of `policy check`:",
	 FIELDS(apply_fields),
	 .run = run_policy_apply},
	{.name = "policy show",
	 OPTIONS(policy_show_options),
	 .help = "the policy in force",
	 .details = "The text as it was applied; of a policy in several files the text with all "
		    "includes resolved. Both can be applied again.",
	 .json = "The JSON form of the policy, see dfw-policy(5), which can be applied like a "
		 "text.",
	 .run = run_policy_show},
	{.name = "policy history",
	 .help = "the generations that can be rolled back to",
	 .details = "The newest first; * marks the one in force.",
	 .json = "An array of objects:",
	 FIELDS(history_fields),
	 .run = run_policy_history},
	{.name = "policy rollback",
	 .argument = {.name = "GENERATION",
		      .help = "whose policy shall hold again (the one before)",
		      .check = check_generation,
		      .optional = true},
	 OPTIONS(policy_apply_options),
	 .help = "bring the policy of a former generation into force",
	 .details = "It becomes a new generation: numbers never go backwards.",
	 .json = "An object:",
	 FIELDS(rollback_fields),
	 .run = run_policy_rollback},
	{.name = "rules",
	 .argument = {.name = "VPORT",
		      .help = "name of the vport",
		      .check = check_vport,
		      .completion = COMPLETE_VPORT,
		      .optional = true},
	 OPTIONS(rules_options),
	 .help = "a vport's rules, read back from the kernel, with hits",
	 .details =
		 "Rules come in the order in which they are asked, the default last. Hits of "
		 "former generations of the same rule are included. A vport without a policy has "
		 "none. A vport of another host is asked for there.\n"
		 "With --hits each rule is shown once, with its hits on all vports (or on VPORT) "
		 "of all hosts.",
	 .json = "An array of objects; with --hits without slot, on_change, log, stateless and "
		 "limits, but with vports:",
	 FIELDS(rules_fields),
	 .run = run_rules},
	{.name = "flow list",
	 OPTIONS(flow_options),
	 .help = "live flows",
	 .details = "PACKETS and BYTES are those of who began the flow, then those of the answers.",
	 .json = "An array of objects:",
	 FIELDS(flow_fields),
	 .run = run_flow_list},
	{.name = "flow find",
	 OPTIONS(flow_find_options),
	 .help = "flows of the whole cluster, both ends in one line",
	 .details =
		 "A flow between two vports is known to both: FROM is the vport and host that "
		 "began it, TO the other "
		 "end. An end that is no vport of the cluster, or that has no such flow, is \"-\".",
	 .json = "An array of objects:",
	 FIELDS(find_fields),
	 .run = run_flow_find},
	{.name = "flow kill",
	 OPTIONS(flow_kill_options),
	 .help = "end flows",
	 .details = "The next packet of such a flow is decided anew; a TCP connection ends, since "
		    "that packet is "
		    "no SYN (unless its profile says `strict off`). Without an option all flows of "
		    "all vports end. With --host and --everywhere other hosts do it too, if this "
		    "host's certificate "
		    "has the operator's role.",
	 .json = "An object:",
	 FIELDS(kill_fields),
	 .run = run_flow_kill},
	{.name = "stats",
	 .argument = {.name = "VPORT",
		      .help = "name of the vport (all)",
		      .check = check_vport,
		      .completion = COMPLETE_VPORT,
		      .optional = true},
	 .help = "packets passed, and dropped by reason",
	 .json = "An array of objects, with one vport too:",
	 FIELDS(stats_fields),
	 .run = run_stats},
	{.name = "cluster init",
	 OPTIONS(cluster_init_options),
	 .help = "make a cluster, with this host as its first member",
	 .details =
		 "Makes the cluster's CA on this host, and certifies this host as an operator and "
		 "the writer of the policy. dfwsyncd sees it within a second.",
	 .json = "An object:",
	 FIELDS(cluster_init_fields),
	 .run = run_cluster_init},
	{.name = "cluster invite",
	 .argument = {.name = "NAME", .help = "name of the new host", .check = check_host_name},
	 OPTIONS(cluster_invite_options),
	 .help = "on the CA's host: make an invitation for a new host",
	 .details =
		 "It holds a certificate, the charter and where to find the cluster. Without "
		 "--request it holds the new host's secret key too, and whoever has it is that "
		 "host: bring it there on a safe way. A host that is a member gets another "
		 "certificate: for its new key with --request, with another role with --operator.",
	 .run = run_cluster_invite},
	{.name = "cluster request",
	 .argument = {.name = "NAME", .help = "name of this host", .check = check_host_name},
	 .help = "on the new host: make its key, and ask for a certificate",
	 .details = "Prints the request for `cluster invite --request`. The secret key never "
		    "leaves the host.",
	 .run = run_cluster_request},
	{.name = "cluster join",
	 .argument = {.name = "FILE",
		      .help = "the invitation; - is the standard input",
		      .check = check_file,
		      .completion = COMPLETE_FILE},
	 OPTIONS(cluster_join_options),
	 .help = "become a member by an invitation",
	 .details = "On a member it takes over the new certificate, and --address is not needed.",
	 .json = "An object:",
	 FIELDS(cluster_join_fields),
	 .run = run_cluster_join},
	{.name = "cluster revoke",
	 .argument = {.name = "NAME", .help = "name of the host", .check = check_host_name},
	 OPTIONS(cluster_revoke_options),
	 .help = "on the CA's host: a host is no member any more",
	 .details = "It is written into the charter, which goes from host to host: each of them "
		    "ends its sessions with the host at once. The host's vports stay as they are "
		    "there.",
	 .json = "An object:",
	 FIELDS(charter_fields),
	 .run = run_cluster_revoke},
	{.name = "cluster rotate",
	 OPTIONS(cluster_rotate_options),
	 .help = "new keys, without downtime",
	 .details =
		 "Without --ca this host gets a new key; where the CA is not on it, the steps are "
		 "shown. With --ca, on the CA's host, there is a new key of the CA beside the old "
		 "one, and every host gets a certificate of it as soon as it is met. When "
		 "`cluster status` shows them all, --ca --retire ends the trust in the old key.",
	 .json = "An object:",
	 FIELDS(charter_fields),
	 .run = run_cluster_rotate},
	{.name = "cluster status",
	 .help = "the hosts of the cluster and its policy",
	 .details =
		 "STATE is as this host sees it. LAG counts the generations that a host is behind.",
	 .json = "An object:",
	 FIELDS(cluster_status_fields),
	 .run = run_cluster_status},
	{.name = "sync status",
	 .help = "how far the copies of the flows of this host's vports are",
	 .details =
		 "TO MOVE is \"safe\" when the vport could be paused for a move to PEER now: what "
		 "is left to copy takes some milliseconds. SHARE is the vport's share group, where "
		 "PEER has another member of it.",
	 .json = "An object:",
	 FIELDS(sync_status_fields),
	 .run = run_sync_status},
	{.name = "sync counters",
	 .help = "what dfwsyncd has dropped, refused or done, by name",
	 .details = "Counters that are not 0, since dfwsyncd became a member; with -j all of them. "
		    "What "
		    "strangers send is dropped and shows here: see dfwsyncd(8).",
	 .json = "An object:",
	 FIELDS(sync_counters_fields),
	 .run = run_sync_counters},
	{.name = "migrate prepare",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 OPTIONS(migrate_prepare_options),
	 .help = "begin to move a vport, while its VM runs",
	 .details = "The destination makes the vport, which denies everything there until it is "
		    "activated, and the flows are copied. Can be said on any host of the cluster.",
	 .json = "An object:",
	 FIELDS(migrate_fields),
	 .run = run_migrate_prepare},
	{.name = "migrate start",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 .help = "hand it over; its VM is paused",
	 .details = "From here on the source denies. The last changes are copied, and count and "
		    "hash of all flows compared.",
	 .json = "An object, as of `migrate prepare`.",
	 .run = run_migrate_start},
	{.name = "migrate activate",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 .help = "bring it into force on this host, where its VM runs",
	 .details = "Not needed when the VM announces itself (RARP, gratuitous ARP, neighbour "
		    "advertisement) or sends anything else: that activates it. Of a vport that was "
		    "not prepared the flows are pulled from the host that had it, or from a copy.",
	 .json = "An object, as of `migrate prepare`.",
	 .run = run_migrate_activate},
	{.name = "migrate rollback",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 .help = "end a move: the vport stays where it was",
	 .details = "After `migrate start` too, until the destination has activated it.",
	 .json = "An object, as of `migrate prepare`.",
	 .run = run_migrate_rollback},
	{.name = "migrate status",
	 .argument = VPORT_ARGUMENT("name of the vport"),
	 .help = "where a move stands",
	 .json = "An object, as one of the vports of `sync status`.",
	 .run = run_migrate_status},
	{.name = "cluster takeover",
	 .help = "make this host the writer of the policy",
	 .details = "For when the writer is lost, or shall be another one. What the former writer "
		    "has not told "
		    "anybody is void.",
	 .json = "An object:",
	 FIELDS(takeover_fields),
	 .run = run_cluster_takeover},
	{.name = "cluster store",
	 .argument = {.name = "STORE",
		      .help = "local, or etcd=URL[,URL].. (shows it)",
		      .check = check_store,
		      .optional = true},
	 OPTIONS(cluster_store_options),
	 .help = "where the policy lies, as this host sees it",
	 .details = "dfwsyncd goes there within a second, and takes the policy along. Every host "
		    "of the cluster has "
		    "to be told the same. The files are copied into the cluster folder, and go "
		    "with the local "
		    "store; those that are not named stay. See dfw-etcd(7).",
	 .json = "An object:",
	 FIELDS(store_fields),
	 .run = run_cluster_store},
	{.name = "cluster leave",
	 .help = "make this host a host of its own again",
	 .details = "The others hear of it. Key and certificate go; the policy in force stays, "
		    "groups mean the "
		    "vports of this host only.",
	 .json = "An empty object.",
	 .run = run_cluster_leave},
	{.name = "watch",
	 OPTIONS(watch_options),
	 .help = "events as they come, until interrupted",
	 .details =
		 "Without --flows, --verdicts and --drops all events are shown, among them learned "
		 "addresses and those of dfwd itself. When dfwd ends, watch waits for the next.",
	 .json = "One object a line; see EVENTS.",
	 .run = run_watch},
	{.name = "shutdown",
	 OPTIONS(shutdown_options),
	 .help = "end dfwd; enforcement goes on",
	 .details = "Returns when dfwd has ended. With --detach everything is taken out of the "
		    "kernel: "
		    "flows are lost, and nothing is filtered any more.",
	 .json = "An object:",
	 FIELDS(shutdown_fields),
	 .run = run_shutdown},
	{.name = "help",
	 .argument = {.name = "COMMAND",
		      .help = "the command (all)",
		      .completion = COMPLETE_COMMAND,
		      .optional = true,
		      .repeats = true},
	 .help = "usage of a command",
	 .run = run_help},
};
const size_t nr_commands = ARRAY_SIZE(commands);
