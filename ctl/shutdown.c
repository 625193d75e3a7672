// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "client.h"
#include "json.h"
#include "output.h"
#include "view.h"

#define POLL_MS 100
#define GONE_MS 30000

/* Waits until the lock is free, and after a detach until the pins are gone. */
static enum exit_status wait_gone(const char *instance, bool detach)
{
	char path[PATH_MAX];

	for (long waited = 0; dfwd_running(instance) == 1; waited += POLL_MS) {
		if (waited >= GONE_MS) {
			complain("dfwd of instance '%s' still runs after %d s", instance,
				 GONE_MS / 1000);
			return EXIT_FAILED;
		}
		sleep_ms(POLL_MS);
	}
	if (detach && access(pin_path(instance, NULL, path), F_OK) == 0) {
		complain("dfwd has ended, but left pins under %s", path);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

enum exit_status run_shutdown(const struct invocation *call)
{
	bool detach = given(call, "--detach");
	_cleanup_json_ json_t *reply = NULL;
	enum exit_status status;
	int r = client_request(call->instance, "shutdown", json_pack("{s:b}", "detach", detach),
			       &reply);

	/* An answer that dfwd's end has overtaken is no failure: what counts is looked at below. */
	if (r < 0 && r != -ECONNRESET)
		return client_failed(call->instance, "shutdown", r);
	if (reply && json_number(reply, "status") != EXIT_DONE) {
		const char *error = json_text(reply, "error");

		complain("shutdown: %s", error ? error : "failed, dfwd does not say why");
		return EXIT_FAILED;
	}
	status = wait_gone(call->instance, detach);
	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_pack("{s:b}", "detached", detach));
	puts(detach ? "dfwd has ended; nothing is enforced any more"
		    : "dfwd has ended; the kernel goes on enforcing");
	return EXIT_DONE;
}
