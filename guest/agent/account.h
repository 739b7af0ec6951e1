// Users by /etc/passwd and /etc/group, read directly: a static program has no name service.
#pragma once
#include <stdbool.h>
#include <sys/types.h>

enum { GROUPS_MAX = 64, ACCOUNT_TEXT = 256 };

struct account {
  uid_t uid;
  gid_t gid;
  gid_t groups[GROUPS_MAX];
  int group_count;
  char name[ACCOUNT_TEXT], home[ACCOUNT_TEXT];
};

// `who`: a name, `uid` or `uid:gid`. False when there is no such user.
bool account_find(const char *who, struct account *account);
