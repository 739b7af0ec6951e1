#include "command.h"
#include "path.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULTS = 5, CPU_PERCENT_MAX = 100000 };
static const uint64_t timeout_max_ms = 10000000000; // 115 days: longer than any sandbox lives

static struct command command;
static char *environment[LIST_MAX + DEFAULTS + 1];
static char *shell_argv[4];
static char home[ACCOUNT_TEXT + 8], user[ACCOUNT_TEXT + 8];

static bool read_arguments(uint32_t stream, const struct fields *f) {
  const char *shell = text(f, TAG_SHELL);
  if ((f->arg_count > 0) == (shell != NULL)) {
    send_error(stream, "bad_request", 0, "give either ARG or SHELL");
    return false;
  }
  if (f->arg_count > LIST_MAX || f->env_count > LIST_MAX) {
    send_error(stream, "too_large", 0, "at most %d arguments and variables", LIST_MAX);
    return false;
  }
  command.argv = (char **)f->args;
  if (shell) {
    shell_argv[0] = "/bin/sh";
    shell_argv[1] = "-c";
    shell_argv[2] = (char *)shell;
    command.argv = shell_argv;
  } else command.argv[f->arg_count] = NULL;
  if (command.argv[0][0]) return true;
  send_error(stream, "bad_request", 0, "the program's name is empty");
  return false;
}

static bool read_user(uint32_t stream, const struct fields *f) {
  static struct account own; // read once: most commands run as the agent's own user
  const char *who = text(f, TAG_USER);
  command.switch_user = who != NULL;
  if (who) {
    if (account_find(who, &command.account)) return true;
    send_error(stream, "user_not_found", 0, "%.64s: no such user", who);
    return false;
  }
  if (!own.name[0]) {
    char id[16];
    snprintf(id, sizeof id, "%u", geteuid());
    account_find(id, &own);
  }
  command.account = own;
  return true;
}

static const char *value_of(const char *variable, const char *name) {
  size_t n = strlen(name);
  return !strncmp(variable, name, n) && variable[n] == '=' ? variable + n + 1 : NULL;
}

static void add_default(uint32_t *count, const char *name, char *variable) {
  for (uint32_t i = 0; i < *count; i++)
    if (value_of(environment[i], name)) return;
  environment[(*count)++] = variable;
}

static bool read_environment(uint32_t stream, const struct fields *f) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < f->env_count; i++) {
    if (f->envs[i][0] == '=' || !strchr(f->envs[i], '=')) {
      send_error(stream, "bad_request", 0, "a variable is NAME=value");
      return false;
    }
    environment[count++] = f->envs[i];
  }
  snprintf(home, sizeof home, "HOME=%s", command.account.home);
  snprintf(user, sizeof user, "USER=%s", command.account.name);
  add_default(&count, "PATH", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  add_default(&count, "HOME", home);
  add_default(&count, "USER", user);
  add_default(&count, "LANG", "LANG=C.UTF-8");
  if (command.pty) add_default(&count, "TERM", "TERM=xterm-256color");
  environment[count] = NULL;
  for (uint32_t i = 0; i < count; i++) {
    const char *path = value_of(environment[i], "PATH");
    if (path) command.path = path;
  }
  command.envp = environment;
  return true;
}

static bool read_limits(uint32_t stream, const struct fields *f) {
  static const enum tag tags[] = {TAG_MEMORY_MAX, TAG_MEMORY_HIGH, TAG_PIDS_MAX, TAG_CPU_PERCENT};
  for (unsigned i = 0; i < sizeof tags / sizeof tags[0]; i++) {
    if (number(f, tags[i], 1) != 0) continue;
    send_error(stream, "bad_request", 0, "a limit must not be 0");
    return false;
  }
  command.limits = (struct limits){.memory_max = number(f, TAG_MEMORY_MAX, 0),
                                   .memory_high = number(f, TAG_MEMORY_HIGH, 0),
                                   .pids_max = number(f, TAG_PIDS_MAX, 0),
                                   .cpu_percent = number(f, TAG_CPU_PERCENT, 0)};
  if (command.limits.cpu_percent > CPU_PERCENT_MAX) command.limits.cpu_percent = 0;
  uint64_t timeout = number(f, TAG_TIMEOUT_MS, 0);
  command.timeout_ms = timeout < timeout_max_ms ? timeout : timeout_max_ms;
  return true;
}

struct command *command_read(uint32_t stream, const struct fields *f) {
  command.pty = number(f, TAG_PTY, 0);
  command.has_stdin = command.pty || number(f, TAG_STDIN, 0);
  command.rows = (uint16_t)number(f, TAG_ROWS, 24);
  command.columns = (uint16_t)number(f, TAG_COLS, 80);
  if (!read_arguments(stream, f) || !read_user(stream, f) || !read_limits(stream, f)) return NULL;
  if (!read_environment(stream, f)) return NULL;
  command.cwd_given = has(f, TAG_CWD);
  command.cwd = command.cwd_given ? path_field(stream, f, TAG_CWD) : command.account.home;
  return command.cwd ? &command : NULL;
}
