/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_ADDR_H
#define DFW_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include <dfw/types.h>

/* Text forms of addresses. IPv4 is held v4-mapped; an IPv6 text that is itself v4-mapped is refused (-EINVAL), since
 * it would be taken for IPv4. Parsers take the whole string and nothing else; they return 0 or -EINVAL. */

#define ADDR_TEXT_LEN	46 /* with the NUL */
#define PREFIX_TEXT_LEN 50
#define MAC_TEXT_LEN	18

int addr_parse(const char *text, struct dfw_addr *addr);

/* "10.0.0.0/8", "2001:db8::/32", or an address alone (then the whole length). *bits counts of 128. -ERANGE: the length
 * does not fit the family; -EDOM: bits are set behind the length. */
int prefix_parse(const char *text, struct dfw_addr *addr, uint32_t *bits);
int mac_parse(const char *text, uint8_t mac[6]);

bool addr_is_v4(const struct dfw_addr *addr);
bool addr_is_link_local6(const struct dfw_addr *addr);
/* The link-local address that a card makes of its MAC: fe80::/64 and the modified EUI-64 (RFC 4291, appendix A). */
struct dfw_addr addr_of_mac(const uint8_t mac[6]);

/* Clears the bits behind the first `bits` of 128. */
void addr_mask(struct dfw_addr *addr, uint32_t bits);

/* These return `text`, which has room for the length named above. A prefix of full length is written as an address. */
const char *addr_format(const struct dfw_addr *addr, char *text);
const char *prefix_format(const struct dfw_addr *addr, uint32_t bits, char *text);
const char *mac_format(const uint8_t mac[6], char *text);

#endif
