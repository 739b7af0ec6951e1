#include "errors.h"
#include <errno.h>

const char *error_code(int error) {
  switch (error) {
  case ENOENT:
    return "not_found";
  case EEXIST:
    return "exists";
  case ENOTDIR:
    return "not_a_directory";
  case EISDIR:
    return "is_a_directory";
  case ENOTEMPTY:
    return "not_empty";
  case EACCES:
  case EPERM:
  case EROFS:
    return "permission_denied";
  case ENOEXEC:
    return "not_executable";
  case ENOSPC:
  case EDQUOT:
    return "no_space";
  case EFBIG:
  case E2BIG:
    return "too_large";
  case ECONNREFUSED:
    return "connection_refused";
  case EADDRINUSE:
    return "address_in_use";
  case EBUSY:
  case ETXTBSY:
    return "busy";
  case EINVAL:
    return "bad_request";
  case ENAMETOOLONG:
  case ELOOP:
    return "invalid_path";
  default:
    return "io_error";
  }
}
