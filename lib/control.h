/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_CONTROL_H
#define DFW_CONTROL_H

/*
 * How dfwctl speaks to dfwd: nanomsg REQ/REP over ipc, JSON both ways, one request at a time.
 *
 *   request  {"command": "vport-add", "arguments": {...}}
 *   reply    {"status": 0, "result": {...}}                         done
 *            {"status": 1, "error": "what failed"}                  failed, nothing changed
 *            {"status": 2, "error": "...", "errors": ["f:1:2: ..."]} wrong input, nothing changed
 *
 * status            -> {"instance","version","pid","ready","uptime_ms","generation","revision","active_since_ms",
 *                       "vports","attached","flows","events_lost","log_suppressed","changes_in_place",
 *                       "changes_staged","changes_no_room"}
 * vport-add         {"name","dev","macs":[..],"ips":[..],"tags":{k:v},"profile","share"} -> the vport
 *                   "moved": true: the port of that name of another host
 * vport-set         the same, "name" and what is to change (lists are replaced whole)  -> the vport
 * vport-del         {"name"}
 * uplink-add        {"name","mode": "auto","native","generic","fast_path": true}, all but "name" optional -> the uplink
 * uplink-set        the same: what is to change                   -> the uplink
 * uplink-del        {"name"}
 * group-add         {"name","members":["10.0.0.1","10.2.0.0/16"]}                   -> {"group","added","members"}
 * group-del         the same                                                        -> {"group","removed","members"}
 * policy-apply      {"main": "file name", "files": [{"name": "as shown in errors", "text": ".."}]}
 *                                                                  -> {"generation","vports","rules","took_us":{"parse",
 *                                 "compile","make","put","settle","all"}}
 * policy-rollback   {"generation": 5} or {}: the one before       -> {"generation","from"}
 * flow-kill         {"vport","proto","addr","port"}, each optional  -> {"killed": 12}
 * shutdown          {"detach": true}: enforcement ends, pins go. Without it only the daemon ends.
 *
 * Events are published (nanomsg PUB/SUB) as one JSON object a message, after a topic of two bytes: "f ", flows;
 * "v ", logged verdicts; "d ", drops; "a ", learned addresses; "s ", the daemon's own (a policy, a vport, losses).
 *
 * Files of an instance:
 *   /run/dfw/INSTANCE/            0700   control.sock, events.sock, dfwd.lock (flock'd while it runs; holds the pid); of
 *                                        dfwsyncd: sync.sock, sync-control.sock, sync.lock
 *   /var/lib/dfw/INSTANCE/        0711   vports.json, remote-vports.json, uplinks.json (0600), policy/ (0700), cluster/ and
 *                                        sync/ (0700, dfwsyncd's)
 *   policy/GENERATION.json        {"generation","applied_at","cause","main","files":[{"name","text"}],"object"}
 *   policy/active                 the number of the generation in force
 *   uplinks.json                  {"uplinks":[{"name","mode","fast_path","configured","strips_tags","number"}]}
 *   groups.journal                members of groups at run time, see <group_members.h>
 *   vports.json                   {"vports":[{"name","dev","macs","ips","learned","vlans","tags","profile","share","uuid",
 *                                 "epoch","pattern"}]}
 */
#define CONTROL_RUN_DIR	  "/run/dfw"
#define CONTROL_STATE_DIR "/var/lib/dfw"
#define CONTROL_CLUSTER_FILE \
	"cluster/cluster.json" /* in the state directory: there is one on a host of a cluster */
#define CONTROL_MAX_BYTES      (64 << 20) /* of a request or reply */
#define CONTROL_POLICY_HISTORY 100	  /* generations kept on disk */

#endif
