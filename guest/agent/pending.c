#include "ops.h"
#include "restore.h"
#include "init.h"
#include "decode.h"
#include <stdlib.h>
void op_spawn(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_ps(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_logs(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_stop(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_remove(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_tar_out(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_tar_in(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_watch(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_connect(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_listen(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_clock(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_reseed(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_identity(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_freeze(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_thaw(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_restore(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_stats(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_sync(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void op_poweroff(uint32_t s, const struct fields *f) { (void)f; send_error(s, "unknown_op", 0, "not yet"); }
void restore_allow(void) {}
void init_machine(void) {}
void init_power_off(void) { abort(); }
int decode_lines(void) { return 1; }
