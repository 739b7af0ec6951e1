#include "account.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 16384 };

static char line[LINE];

// The next line that fits; longer ones are skipped. NULL at the end.
static char *next_line(FILE *file) {
  while (fgets(line, LINE, file)) {
    size_t n = strlen(line);
    if (n > 0 && line[n - 1] == '\n') {
      line[n - 1] = 0;
      return line;
    }
    if (feof(file)) return line;
    for (int c = fgetc(file); c != EOF && c != '\n';) c = fgetc(file);
  }
  return NULL;
}

static bool parse_id(const char *text, char **end, unsigned *id) {
  if (!isdigit((unsigned char)*text)) return false;
  unsigned long long v = strtoull(text, end, 10);
  *id = (unsigned)v;
  return v < 0xFFFFFFFFULL;
}

static void copy(char to[ACCOUNT_TEXT], const char *from) { snprintf(to, ACCOUNT_TEXT, "%s", from); }

// Looks for the name, or for the uid when `name` is NULL.
static bool find_user(const char *name, uid_t uid, struct account *a) {
  FILE *file = fopen("/etc/passwd", "re");
  if (!file) return false;
  bool found = false;
  for (char *at; !found && (at = next_line(file));) {
    char *part[7] = {0}, *end;
    for (int i = 0; i < 7; i++) part[i] = strsep(&at, ":");
    unsigned id, group;
    if (!part[5] || !parse_id(part[2], &end, &id) || !parse_id(part[3], &end, &group)) continue;
    if (name ? strcmp(name, part[0]) != 0 : id != uid) continue;
    a->uid = id;
    a->gid = group;
    copy(a->name, part[0]);
    copy(a->home, part[5][0] == '/' ? part[5] : "/");
    found = true;
  }
  fclose(file);
  return found;
}

static bool lists(char *members, const char *name) {
  for (char *member; (member = strsep(&members, ","));)
    if (!strcmp(member, name)) return true;
  return false;
}

static void find_groups(struct account *a) {
  a->groups[0] = a->gid;
  a->group_count = 1;
  FILE *file = fopen("/etc/group", "re");
  if (!file) return;
  for (char *at; a->group_count < GROUPS_MAX && (at = next_line(file));) {
    char *part[4] = {0}, *end;
    for (int i = 0; i < 4; i++) part[i] = strsep(&at, ":");
    unsigned id;
    if (part[3] && parse_id(part[2], &end, &id) && id != a->gid && lists(part[3], a->name))
      a->groups[a->group_count++] = id;
  }
  fclose(file);
}

bool account_find(const char *who, struct account *a) {
  char *end;
  unsigned uid, gid;
  if (!parse_id(who, &end, &uid)) {
    if (isdigit((unsigned char)*who) || !find_user(who, 0, a)) return false;
    find_groups(a);
    return true;
  }
  if (*end != 0 && *end != ':') return false;
  bool known = find_user(NULL, uid, a);
  if (!known) {
    a->uid = a->gid = uid;
    snprintf(a->name, ACCOUNT_TEXT, "%u", uid);
    copy(a->home, "/");
  }
  if (*end == ':') {
    if (!parse_id(end + 1, &end, &gid) || *end != 0) return false;
    a->gid = gid;
  }
  if (known) find_groups(a);
  else {
    a->groups[0] = a->gid;
    a->group_count = 1;
  }
  return true;
}
