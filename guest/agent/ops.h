// Operations by number. Each gets the id of its stream and answers or opens it.
#pragma once
#include "stream.h"

void op_dispatch(uint32_t stream, const struct fields *f);

void op_exec(uint32_t stream, const struct fields *f);
void op_spawn(uint32_t stream, const struct fields *f);
void op_ps(uint32_t stream, const struct fields *f);
void op_logs(uint32_t stream, const struct fields *f);
void op_stop(uint32_t stream, const struct fields *f);
void op_read(uint32_t stream, const struct fields *f);
void op_write(uint32_t stream, const struct fields *f);
void op_stat(uint32_t stream, const struct fields *f);
void op_list(uint32_t stream, const struct fields *f);
void op_mkdir(uint32_t stream, const struct fields *f);
void op_move(uint32_t stream, const struct fields *f);
void op_remove(uint32_t stream, const struct fields *f);
void op_tar_out(uint32_t stream, const struct fields *f);
void op_tar_in(uint32_t stream, const struct fields *f);
void op_watch(uint32_t stream, const struct fields *f);
void op_connect(uint32_t stream, const struct fields *f);
void op_listen(uint32_t stream, const struct fields *f);
void op_clock(uint32_t stream, const struct fields *f);
void op_reseed(uint32_t stream, const struct fields *f);
void op_identity(uint32_t stream, const struct fields *f);
void op_freeze(uint32_t stream, const struct fields *f);
void op_thaw(uint32_t stream, const struct fields *f);
void op_restore(uint32_t stream, const struct fields *f);
void op_stats(uint32_t stream, const struct fields *f);
void op_sync(uint32_t stream, const struct fields *f);
void op_poweroff(uint32_t stream, const struct fields *f);
