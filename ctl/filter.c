// SPDX-License-Identifier: GPL-2.0
#include "filter.h"

#include "addr.h"
#include "value.h"

void filter_given(const struct invocation *call, struct flow_filter *filter)
{
	const char *protocol = given_value(call, "--proto"), *address = given_value(call, "--addr");
	const char *port = given_value(call, "--port");

	*filter = (struct flow_filter){};
	if (protocol)
		filter->protocol = (uint8_t)protocol_parse(protocol);
	if (address)
		filter->has_address =
			prefix_parse(address, &filter->address, &filter->prefix_bits) == 0;
	if (port)
		filter->port = (uint16_t)number_value(port);
}

json_t *filter_json(const struct invocation *call)
{
	const char *vport = given_value(call, "--vport"), *protocol = given_value(call, "--proto");
	const char *address = given_value(call, "--addr"), *port = given_value(call, "--port");
	json_t *arguments = json_object();

	if (vport)
		json_object_set_new(arguments, "vport", json_string(vport));
	if (protocol)
		json_object_set_new(arguments, "proto", json_string(protocol));
	if (address)
		json_object_set_new(arguments, "addr", json_string(address));
	if (port)
		json_object_set_new(arguments, "port",
				    json_integer((json_int_t)number_value(port)));
	return arguments;
}
