/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_VALUE_H
#define DFWCTL_VALUE_H

/* Checks of what people type; see value_check in command.h. */

const char *check_instance(const char *value);
const char *check_group(const char *value);
const char *check_vport(const char *value);
const char *check_device(const char *value);
const char *check_uplink_mode(const char *value);
const char *check_switch(const char *value);
const char *check_mac(const char *value);
const char *check_address(const char *value);
const char *check_prefix(const char *value);
const char *check_tag(const char *value);
const char *check_profile(const char *value);
const char *check_share(const char *value); /* "" is none */
const char *check_protocol(const char *value);
const char *check_port(const char *value);
const char *check_seconds(const char *value);
const char *check_count(const char *value);
const char *check_generation(const char *value);
const char *check_file(const char *value);

/* Of a value that check_seconds, or one of the other three, has passed. */
double seconds_value(const char *value);
unsigned long number_value(const char *value);

#endif
