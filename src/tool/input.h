/* tool/input.h - reports from wherever they are: records of live and dead processes, copies of such
 * files, JSON reports, directories of any of these.
 * Owns:    what was read, to the end of the command.
 * Context: the command, one thread.
 * Errors:  an exit status, after one line on stderr.
 */
#ifndef XS_TOOL_INPUT_H
#define XS_TOOL_INPUT_H

#include "report/image.h"
#include "report/report.h"
#include "tool/json.h"

/* How a process is that has its number in another namespace: nobody here can tell if it runs. */
#define XS_TOOL_ELSEWHERE "in another pid namespace"

struct xs_input {
    const char *name; /* of the file, or what the user wrote */
    struct xs_report report;
    bool is_alive; /* a record of a process that runs */
    bool was_dead; /* a record in its own place, of a process that is gone */
    /* One of the two: */
    struct xs_recorded *recorded;
    struct xs_record_bytes bytes; /* all of the record */
    struct xs_json_tree json;
};

struct xs_inputs {
    struct xs_input *at;
    size_t count;
    size_t room;
    size_t skipped;                    /* files in directories that are something else */
    const struct xs_sites_view *sites; /* of all, for the sum; NULL: none */
};

/* FILE, PID, DIRECTORY or -: 0, or an exit status. A live process is asked for a snapshot first. */
int xs_inputs_add(struct xs_inputs *in, const char *word);

/* The record of a process, as xs_inputs_add; `patience_ns` is how long it may take to answer. */
int xs_inputs_add_process(struct xs_inputs *in, pid_t pid, uint64_t patience_ns);

void xs_inputs_free(struct xs_inputs *in);

/* Everything after this that goes by the settings goes by this report's. */
void xs_input_settings(const struct xs_input *i);

/* The reports of all added up; of one that is it. What it points to belongs to `in`, and is as long
 * there as the next call. */
const struct xs_report *xs_inputs_sum(struct xs_inputs *in);

/* A JSON report. False: it is none, or not of this schema. */
bool xs_input_from_json(struct xs_input *i);

#endif
