#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "policy/config.h"
#include "tool/tool.h"

/* The options that run and doctor share. */
#define OPTIONS                                                                                    \
    "  --preset P     values for a kind of work: monte-carlo, pde or risk\n"                       \
    "  --set K=V      set XSIGMA_K to V for the program; may be repeated, the last one wins\n"     \
    "  --lib PATH     the library to preload, instead of the one found beside this command,\n"     \
    "                 in ../lib, or where it was installed\n"

const char xs_help_run[] =
    "usage: xsigma run [--preset P] [--set K=V]... [--json FILE | --html FILE] [--children]\n"
    "                  [--sample SIZE] [--lib PATH] [--] program args...\n"
    "\n"
    "Runs a program with libxsigma.so in front of LD_PRELOAD. The program takes the place of this\n"
    "process: its process id, its signals and its exit status are what they would be without.\n"
    "\n" OPTIONS
    "  --json FILE    write the report as JSON to FILE (%p pid, %h host, %e program, %r rank)\n"
    "  --html FILE    make a page for a browser of it; the program is then a child of this "
    "process,\n"
    "                 which passes its signals on, waits for it and ends as it ends\n"
    "  --children     report on all that the program starts too, as a script does, in one report "
    "at\n"
    "                 its end; the program is a child as with --html\n"
    "  --sample SIZE  note where one block in SIZE bytes is allocated: 512K unless something else "
    "is\n"
    "                 set; 1 for every block, off for none\n"
    "\n"
    "Scripts and wrappers (env, nice, nohup, time, timeout, taskset, numactl, stdbuf, setsid, "
    "chrt,\n"
    "ionice) are followed to the program that they start. What cannot be preloaded is refused:\n"
    "static, setuid, setgid or capable programs, programs for another machine, musl, sanitizers.\n"
    "\n"
    "Exit status: the program's; 2 refused, 64 wrong usage, 126 not executable, 127 not found.\n";

const char xs_help_doctor[] =
    "usage: xsigma doctor [--preset P] [--set K=V]... [--lib PATH] [--] [program args...]\n"
    "\n"
    "Says whether 'xsigma run' would take effect on a program, and if not why, without running "
    "it.\n"
    "Without a program: whether the library, the back ends and the limits are in order.\n"
    "\n" OPTIONS "\n"
    "Each line begins with ok, note, warn or no.\n"
    "Exit status: 0 it would take effect, 1 it would not, 64 wrong usage.\n";

const char xs_help_vars[] =
    "usage: xsigma vars [--markdown | WORD...]\n"
    "\n"
    "Lists the XSIGMA_* variables, their defaults and the values that they have here: all, or\n"
    "those with a WORD in their names.\n"
    "--markdown prints them as the table that the README holds.\n";

const char xs_help_gpu[] =
    "usage: xsigma gpu                               list your processes that use CUDA\n"
    "       xsigma gpu stats [--device N] PID        what the report would say of devices now\n"
    "       xsigma gpu clear [--device N] PID        give back what is kept for reuse\n"
    "       xsigma gpu limit SIZE [--device N] PID   keep no more than SIZE from now on\n"
    "       xsigma gpu defragment [--device N] PID   give back whole free slabs and regions\n"
    "\n"
    "Reaches processes of yours that run under libxsigma.so and have used CUDA, through the file\n"
    "that each has in XSIGMA_RECORD (/dev/shm). A process answers in its next allocation that the\n"
    "cache does not serve, or after some more frees; one that does not call CUDA within 2 seconds\n"
    "is left alone, and nothing happens later.\n"
    "\n"
    "Exit status: 0 done, 1 not done, 64 wrong usage.\n";

const char xs_help_report[] =
    "usage: xsigma report [--json | --collapsed] [--kind K] [--html FILE] [--pprof FILE]\n"
    "                     [FILE|PID|DIRECTORY|-]...\n"
    "\n"
    "Shows what processes counted: from the record of one that runs, or that was killed (PID), "
    "from\n"
    "copies of records, from JSON reports, from all of those in a directory. Several are added "
    "up:\n"
    "the ranks of a job, or a process and its children. Without an argument: which records there "
    "are.\n"
    "\n"
    "  --json         as JSON, docs/report-json.md says what is in it\n"
    "  --html FILE    as one page for a browser, which needs nothing else; - is standard output\n"
    "  --collapsed    where memory was allocated, a stack and its bytes a line, for flame graphs\n"
    "  --kind K       of these stacks the bytes at the peak, live at the end, or total: peak, "
    "live, "
    "total\n"
    "  --pprof FILE   the same for pprof, speedscope and their like, all three kinds\n"
    "\n"
    "Functions, files and lines are found in the programs' own files by elfutils' libdw, if they "
    "are\n"
    "still the ones that ran.\n"
    "\n"
    "A process that reports has a record in XSIGMA_RECORD (/dev/shm) while it runs. What it "
    "counted\n"
    "is exact even if it was killed; what is only brought up to date now and then, memory in use "
    "and\n"
    "reserved, is as it was at the last look. 'Ended without a report' says that the process came "
    "to\n"
    "its end by a signal or in another way that runs nothing of it. Of a process that runs a "
    "snapshot\n"
    "is taken in its next slow allocation, if that comes soon. Records that were shown go after "
    "ten\n"
    "minutes; XSIGMA_RECORD_KEEP=1 keeps them, and those of processes that end as usual.\n"
    "\n"
    "Exit status: 0 all was read, 1 some was not, 64 wrong usage.\n";

const char xs_help_diff[] =
    "usage: xsigma diff [--json] A B\n"
    "\n"
    "Shows the figures that are different in B from those in A. Each may be whatever 'xsigma "
    "report'\n"
    "reads: a JSON report, a record, a process, a directory of them, whose reports are added up.\n"
    "Where both have call sites, those follow that hold more or less by more than the 95 %\n"
    "interval, most first: what grew. --json has all of them.\n"
    "\n"
    "Exit status: 0 done, 1 not done, 64 wrong usage.\n";

const char xs_help_top[] = "usage: xsigma top [-n TIMES] [-d TIME] PID\n"
                           "\n"
                           "Shows what a running process counts and how fast, again and again "
                           "until it ends; q or ^C ends it\n"
                           "before. Where the output is no terminal it is shown once.\n"
                           "\n"
                           "  -n TIMES       so many times\n"
                           "  -d TIME        so long between two, such as 500ms; 1s otherwise\n"
                           "\n"
                           "Exit status: 0 done, 1 no such process or record, 64 wrong usage.\n";

const char xs_help_tune[] =
    "usage: xsigma tune [-n RUNS] [--objective time|rss|gpu-peak] [--check CMD]\n"
    "                   [--candidate SET]... [--save FILE] [--timeout TIME] [--seed N]\n"
    "                   [--preset P] [--set K=V]... [--lib PATH] [--] program args...\n"
    "\n"
    "Runs a program as it is and under other settings, in random order, and prints the\n"
    "settings that served it best, or that there is no significant difference. It tries the\n"
    "back ends, a route, what the report of a first run advises, and for programs that use\n"
    "CUDA its back ends and the presets.\n"
    "\n"
    "  -n RUNS           so many runs of each; 5 otherwise\n"
    "  --objective WHAT  time: CPU time, user and system, of the program and of what it\n"
    "                    waited for; rss: peak resident memory of its largest process;\n"
    "                    gpu-peak: device memory held at most, all devices and processes\n"
    "  --check CMD       a shell command that reads the program's output; where it fails,\n"
    "                    the candidate is out\n"
    "  --candidate SET   try this and nothing else, 'NAME=VALUE NAME=VALUE'; repeatable\n"
    "  --save FILE       write the settings to FILE, for XSIGMA_CONFIG\n"
    "  --timeout TIME    a run that takes longer is ended, and the candidate out; otherwise\n"
    "                    10 times what the first run took, and 10 seconds\n"
    "  --seed N          the order of an earlier call again\n" OPTIONS
    "The program should do the same each time. Its output is kept from the screen; it reads\n"
    "its input again from the start if that is a file, and nothing otherwise. A candidate is\n"
    "out when its exit status is not the baseline's, a signal ends it or it takes too long.\n"
    "It is better only if all its runs lie below all of the baseline's; of 8 runs and more,\n"
    "an eighth at each end is left out. The last column is the change in CPU time that comes\n"
    "with it, or in peak resident memory where time is the objective. ^C ends it with what\n"
    "is known.\n"
    "\n"
    "Exit status: 0 done, better or not; 1 not done, 2 refused, 64 wrong usage, 126 not\n"
    "executable, 127 not found, 128 and the signal's number when interrupted.\n";

const char xs_help_help[] = "usage: xsigma help [verb]\n"
                            "\n"
                            "Explains a verb, or lists them.\n";

void xs_help_print_all(void)
{
    puts("usage: xsigma VERB ...\n");
    for (const struct xs_verb *v = xs_verbs; v->name != NULL; v++)
        printf("  %-8s %s\n", v->name, v->summary);
    puts("\n'xsigma help VERB' or 'xsigma VERB --help' says more; 'xsigma --version' the version.");
}

bool xs_help_asked(int argc, char **argv)
{
    static const char *const with_value[] = {
        "--preset", "--set",       "--json",  "--lib",     "-n",     "--objective",
        "--check",  "--candidate", "--save",  "--timeout", "--seed", "--html",
        "--sample", "--kind",      "--pprof", "--device",  "-d"};
    const bool takes_program = strcmp(argv[0], "run") == 0 || strcmp(argv[0], "doctor") == 0 ||
                               strcmp(argv[0], "tune") == 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
        if (strcmp(argv[i], "--") == 0 || (takes_program && argv[i][0] != '-'))
            return false;
        for (size_t k = 0; k < XS_COUNT_OF(with_value); k++)
            if (strcmp(argv[i], with_value[k]) == 0) {
                /* To look at reports it has none. */
                i += strcmp(argv[i], "--json") != 0 || takes_program;
                break;
            }
    }
    return false;
}

int xs_tool_help(int argc, char **argv)
{
    const struct xs_verb *verb;
    struct xs_nearest nearest;

    if (argc < 2) {
        xs_help_print_all();
        return XS_EXIT_OK;
    }
    verb = xs_verb_find(argv[1]);
    if (verb != NULL) {
        fputs(verb->help, stdout);
        return XS_EXIT_OK;
    }
    xs_nearest_init(&nearest, argv[1]);
    for (const struct xs_verb *v = xs_verbs; v->name != NULL; v++)
        xs_nearest_try(&nearest, v->name);
    if (nearest.best != NULL)
        xs_tool_error("no verb '%s'; did you mean '%s'?", argv[1], nearest.best);
    else
        xs_tool_error("no verb '%s'; see 'xsigma help'", argv[1]);
    return XS_EXIT_USAGE;
}

static void print_line(const char *line, void *arg)
{
    (void)arg;
    puts(line);
}

/* The variables with one of these words in their names. */
struct wanted {
    char **words;
    bool printing;
    bool any;
};

static bool has_word(const char *line, const char *word)
{
    size_t len = strlen(word);

    if (len > 7 && xs_text_same(word, "XSIGMA_", 7))
        return has_word(line, word + 7);
    line += 7;
    for (; *line != '\0' && *line != '='; line++)
        if (xs_text_same(line, word, len))
            return true;
    return false;
}

static void print_wanted(const char *line, void *arg)
{
    struct wanted *w = arg;

    if (line[0] != ' ') {
        w->printing = false;
        for (char **word = w->words; *word != NULL; word++)
            w->printing |= has_word(line, *word);
    }
    if (w->printing)
        puts(line);
    w->any |= w->printing;
}

int xs_tool_vars(int argc, char **argv)
{
    bool markdown = argc == 2 && strcmp(argv[1], "--markdown") == 0;
    struct wanted w = {.words = argv + 1};

    if (argc > 1 && !markdown && argv[1][0] == '-') {
        if (strcmp(argv[1], "--markdown") == 0)
            xs_tool_error("vars --markdown lists all, so '%s' is too much", argv[2]);
        else
            xs_tool_error("vars has no option but --markdown, and was given '%s'", argv[1]);
        return XS_EXIT_USAGE;
    }
    xs_config_load(false);
    if (markdown) {
        xs_config_print_markdown(print_line, NULL);
    } else if (argc > 1) {
        xs_config_print_help(print_wanted, &w);
        if (!w.any) {
            xs_tool_error("no variable has '%s' in its name; 'xsigma vars' lists them", argv[1]);
            return XS_EXIT_USAGE;
        }
    } else {
        xs_config_print_help(print_line, NULL);
    }
    return XS_EXIT_OK;
}
