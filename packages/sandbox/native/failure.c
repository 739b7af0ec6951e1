/* Why a command was refused. */
#include "ramshim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool fail(struct failure *f, const char *code, const char *format, ...) {
    snprintf(f->code, sizeof f->code, "%s", code);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f->message, sizeof f->message, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_errno(struct failure *f, const char *what) {
    int error = errno;
    const char *name = strerrorname_np(error);
    return fail(f, name ? name : "EUNKNOWN", "%s", what);
}
