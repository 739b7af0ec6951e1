#include "ops.h"
#include "loop.h"
#include "restore.h"

enum { OP_READ = 10, OP_STAT = 12, OP_LIST = 13 };
typedef void operation(uint32_t stream, const struct fields *f);

static void op_ping(uint32_t stream, const struct fields *f) {
  (void)f;
  struct writer w = frame_begin();
  put_u64(&w, TAG_TIME_NS, (uint64_t)wall_ns());
  frame_end(&w, FRAME_RESULT, stream);
}

static operation *const operations[] = {
    [1] = op_ping,     [2] = op_exec,     [3] = op_spawn,   [4] = op_ps,      [5] = op_logs,     [6] = op_stop,
    [10] = op_read,    [11] = op_write,   [12] = op_stat,   [13] = op_list,   [14] = op_mkdir,   [15] = op_move,
    [16] = op_remove,  [17] = op_tar_out, [18] = op_tar_in, [19] = op_watch,  [20] = op_connect, [21] = op_listen,
    [30] = op_clock,   [31] = op_reseed,  [32] = op_identity, [33] = op_freeze, [34] = op_thaw,  [35] = op_restore,
    [36] = op_stats,   [37] = op_sync,    [38] = op_poweroff,
};

void op_dispatch(uint32_t stream, const struct fields *f) {
  uint64_t op = number(f, TAG_OP, 0);
  operation *run = op < sizeof operations / sizeof operations[0] ? operations[op] : NULL;
  if (!run) return send_error(stream, "unknown_op", 0, "operation %llu does not exist", (unsigned long long)op);
  if (streams_open() >= STREAMS_MAX)
    return send_error(stream, "too_many_streams", 0, "%d streams are open", STREAMS_MAX);
  if (op != OP_READ && op != OP_STAT && op != OP_LIST) restore_finish();
  run(stream, f);
}
