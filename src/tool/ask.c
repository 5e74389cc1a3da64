#include "tool/ask.h"

#include <time.h>

#include "sys/proc.h"

static uint64_t with_state(uint64_t turn, enum xs_record_state state)
{
    return (turn & ~(uint64_t)3) | state;
}

/* Waits while `turn` is in this state: what it became, or the same after the patience is used up.
 */
static uint64_t wait_while(struct xs_record *r, enum xs_record_state state, uint64_t patience_ns)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    uint64_t end = xs_proc_now_ns() + patience_ns;
    uint64_t turn = atomic_load_explicit(&r->turn, memory_order_acquire);

    while (XS_RECORD_STATE(turn) == state && xs_proc_now_ns() < end) {
        (void)nanosleep(&pause, NULL);
        turn = atomic_load_explicit(&r->turn, memory_order_acquire);
    }
    return turn;
}

/* The slot is ours to write: nobody's request is in it. A command that was killed may have left one
 * that the process has not seen. */
static bool claim(struct xs_record *r, uint64_t *turn, uint64_t patience_ns)
{
    *turn = atomic_load_explicit(&r->turn, memory_order_acquire);
    if (XS_RECORD_STATE(*turn) == XS_RECORD_ASKED) {
        (void)atomic_compare_exchange_strong_explicit(&r->turn, turn,
                                                      with_state(*turn, XS_RECORD_IDLE),
                                                      memory_order_acquire, memory_order_acquire);
        *turn = atomic_load_explicit(&r->turn, memory_order_acquire);
    }
    if (XS_RECORD_STATE(*turn) == XS_RECORD_TAKEN)
        *turn = wait_while(r, XS_RECORD_TAKEN, patience_ns);
    return XS_RECORD_STATE(*turn) != XS_RECORD_TAKEN;
}

enum xs_ask_result xs_ask(const struct xs_ask *ask, struct xs_record *r)
{
    uint64_t turn;

    if (!claim(r, &turn, ask->patience_ns))
        return XS_ASK_BUSY;
    r->command = ask->command;
    r->device = ask->device;
    r->argument = ask->argument;
    turn = with_state(turn + 4, XS_RECORD_ASKED);
    atomic_store_explicit(&r->turn, turn, memory_order_release);
    turn = wait_while(r, XS_RECORD_ASKED, ask->patience_ns);
    if (XS_RECORD_STATE(turn) == XS_RECORD_ASKED &&
        atomic_compare_exchange_strong_explicit(&r->turn, &turn, with_state(turn, XS_RECORD_IDLE),
                                                memory_order_acquire, memory_order_acquire))
        return XS_ASK_UNHEARD;
    if (XS_RECORD_STATE(turn) == XS_RECORD_TAKEN)
        turn = wait_while(r, XS_RECORD_TAKEN, ask->patience_ns);
    if (XS_RECORD_STATE(turn) != XS_RECORD_DONE)
        return XS_ASK_AT_IT;
    return r->result == 0 ? XS_ASK_DONE : XS_ASK_REFUSED;
}
