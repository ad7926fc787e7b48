/*
 * words.c - what each word of the test language does; run.c describes them.
 */
#include "words.h"

#include "execute.h"
#include "result.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is told --------------------------------------------------------------------
 */

bool lkv_words_fail(lkv_run *run, const char *format, ...)
{
    run->sum.failed++;
    if (run->options->only_sum) {
        return false;
    }
    printf("%s:%zu: ", run->script.path, run->line);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    return true;
}

static void pass(lkv_run *run)
{
    run->sum.passed++;
    if (run->options->verbose && !run->options->only_sum) {
        printf("%s:%zu: passed\n", run->script.path, run->line);
    }
}

static void skip_rest(lkv_run *run, const char *reason)
{
    run->stop = true;
    run->sum.skipped++;
    if (run->options->require_all) {
        run->sum.failed++;
    }
    if (!run->options->only_sum) {
        printf("skipped: %s: %s\n", run->script.path, reason);
    }
}

/* A record that leaves the wrong connection in use makes all that follow meaningless.
 */
static void fail_and_stop(lkv_run *run, const char *word)
{
    lkv_words_fail(run, "%s: %s; the rest of the file does not run", word,
                   run->session.why);
    run->stop = true;
}

/* --- words ---------------------------------------------------------------------------
 */

static bool read_number(const char *word, sqlite3_int64 *out)
{
    if (word == NULL) {
        return false;
    }
    char *end;
    errno = 0;
    *out = strtoll(word, &end, 10);
    return end != word && *end == '\0' && errno == 0 && *out >= 0;
}

static bool is_word(const char *word, const char *wanted)
{
    return word != NULL && strcmp(word, wanted) == 0;
}

static lkv_outcome execute(lkv_run *run, const lkv_lines *sql, const char *before,
                           const char *types)
{
    char *joined = lkv_text_join(sql);
    char *expanded = lkv_session_expand(&run->session, joined);
    size_t size = strlen(before) + strlen(expanded) + 1;
    char *whole = lkv_text_alloc(size);
    snprintf(whole, size, "%s%s", before, expanded);
    lkv_outcome outcome = lkv_execute(run->session.db, whole, types);
    free(whole);
    free(expanded);
    free(joined);
    return outcome;
}

static void word_statement(lkv_run *run, char *rest)
{
    lkv_block block = lkv_script_block(&run->script);
    char *verdict = lkv_text_word(&rest);
    rest = lkv_text_trim(rest);
    bool wants_error = is_word(verdict, "error");
    if (!wants_error && (!is_word(verdict, "ok") || rest[0] != '\0')) {
        lkv_words_fail(run, "a statement is `ok` or `error [TEXT]`");
        return;
    }
    lkv_outcome outcome = execute(run, &block.sql, "", "");
    const char *problem = NULL;
    if (block.divided) {
        problem = "a statement has no `----`";
    } else if (outcome.statements == 0) {
        problem = "no SQL";
    } else if (outcome.failed && !wants_error) {
        problem = "the statement failed";
    } else if (outcome.cut_short) {
        problem = "a statement before the last one failed";
    } else if (!outcome.failed && wants_error) {
        problem = "the statement should have failed";
    } else if (outcome.failed && strstr(outcome.error, rest) == NULL) {
        problem = "the statement failed in another way";
    }
    if (problem == NULL) {
        pass(run);
    } else if (lkv_words_fail(run, "%s", problem)) {
        lkv_result_show("SQL:", &block.sql, 0);
        if (wants_error) {
            printf("  expected:\n    %s\n", rest[0] != '\0' ? rest : "any error");
        }
        printf("  got:\n    %s\n", outcome.failed ? outcome.error : "success");
    }
    lkv_execute_free(&outcome);
}

/* False when an earlier query of the same label gave something else. */
static bool check_label(lkv_run *run, const char *label, const lkv_lines *values)
{
    char hex[33];
    lkv_result_hash(values, hex);
    for (size_t i = 0; i < run->labels.count; i += 2) {
        if (strcmp(run->labels.at[i], label) == 0) {
            return strcmp(run->labels.at[i + 1], hex) == 0;
        }
    }
    lkv_text_add(&run->labels, lkv_text_copy(label, strlen(label)));
    lkv_text_add(&run->labels, lkv_text_copy(hex, strlen(hex)));
    return true;
}

/* sqllogictest itself does not see an error that comes while a query runs, and one
 * public file expects `integer overflow` as an empty result. Only files named as the
 * public ones are read that way: in ours it would hide what the tests look for. */
static bool public_empty_result(const lkv_run *run, const lkv_block *block,
                                const lkv_outcome *outcome)
{
    const char *end = strrchr(run->script.path, '.');
    return is_word(end, ".test") && outcome->started && block->expected.count == 0;
}

/* Whether there is a result to compare; otherwise the failure is told. */
static bool gave_result(lkv_run *run, const lkv_block *block,
                        const lkv_outcome *outcome)
{
    const char *problem = NULL;
    if (!block->divided) {
        problem = "no `----` before the expected result";
    } else if (outcome->statements == 0) {
        problem = "no SQL";
    } else if (outcome->failed && !public_empty_result(run, block, outcome)) {
        problem = outcome->error;
    }
    if (problem != NULL && lkv_words_fail(run, "%s", problem)) {
        lkv_result_show("SQL:", &block->sql, 0);
        lkv_result_show("expected:", &block->expected, 0);
    }
    return problem == NULL;
}

static void compare(lkv_run *run, const lkv_block *block, const lkv_lines *values,
                    const lkv_lines *expected, const char *label)
{
    const char *problem = NULL;
    if (!lkv_result_matches(values, expected)) {
        problem = "wrong result";
    } else if (label != NULL && !check_label(run, label, values)) {
        problem = "not the result of the earlier query with this label";
    }
    if (problem == NULL) {
        pass(run);
    } else if (lkv_words_fail(run, "%s", problem)) {
        lkv_result_show("SQL:", &block->sql, 0);
        lkv_result_explain(values, expected);
    }
}

static bool read_sort(const char *word, enum lkv_sort *sort)
{
    *sort = LKV_NOSORT;
    if (is_word(word, "rowsort")) {
        *sort = LKV_ROWSORT;
    } else if (is_word(word, "valuesort")) {
        *sort = LKV_VALUESORT;
    } else {
        return word == NULL || is_word(word, "nosort");
    }
    return true;
}

static void word_query(lkv_run *run, char *rest)
{
    lkv_block block = lkv_script_block(&run->script);
    const char *types = lkv_text_word(&rest);
    const char *sort_word = lkv_text_word(&rest);
    const char *label = lkv_text_word(&rest);
    enum lkv_sort sort;
    if (types == NULL || types[strspn(types, "IRT?")] != '\0') {
        lkv_words_fail(run, "the types of a query are letters I, R, T or ?");
        return;
    }
    if (!read_sort(sort_word, &sort) || lkv_text_word(&rest) != NULL) {
        lkv_words_fail(run, "behind the types: [nosort|rowsort|valuesort] [LABEL]");
        return;
    }
    lkv_outcome outcome = execute(run, &block.sql, "", types);
    if (!gave_result(run, &block, &outcome)) {
        /* told */
    } else if (outcome.columns != strlen(types)) {
        if (lkv_words_fail(run, "%zu types for %zu columns", strlen(types),
                           outcome.columns)) {
            lkv_result_show("SQL:", &block.sql, 0);
        }
    } else {
        lkv_result_sort(&outcome.values, outcome.columns, sort);
        compare(run, &block, &outcome.values, &block.expected, label);
    }
    lkv_execute_free(&outcome);
}

static void word_plan(lkv_run *run, char *rest)
{
    lkv_block block = lkv_script_block(&run->script);
    if (lkv_text_word(&rest) != NULL) {
        lkv_words_fail(run, "plan has no arguments");
        return;
    }
    lkv_outcome outcome = execute(run, &block.sql, "EXPLAIN QUERY PLAN ", "");
    if (gave_result(run, &block, &outcome)) {
        /* Columns: id, parent, unused, detail. */
        lkv_lines details = {0};
        lkv_lines expected = {0};
        for (size_t i = 3; i < outcome.values.count; i += 4) {
            const char *text = lkv_text_trim(outcome.values.at[i]);
            lkv_text_add(&details, lkv_text_copy(text, strlen(text)));
        }
        for (size_t i = 0; i < block.expected.count; i++) {
            const char *text = lkv_text_trim(block.expected.at[i]);
            lkv_text_add(&expected, lkv_text_copy(text, strlen(text)));
        }
        compare(run, &block, &details, &expected, NULL);
        lkv_text_free(&details);
        lkv_text_free(&expected);
    }
    lkv_execute_free(&outcome);
}

static void word_changes(lkv_run *run, char *rest)
{
    sqlite3_int64 wanted;
    int changes = sqlite3_changes(run->session.db);
    if (!read_number(lkv_text_word(&rest), &wanted)) {
        lkv_words_fail(run, "changes needs a number");
    } else if (changes != wanted) {
        lkv_words_fail(run, "%lld changes expected, got %d", (long long)wanted,
                       changes);
    } else {
        pass(run);
    }
}

static void word_hash_threshold(lkv_run *run, char *rest)
{
    sqlite3_int64 threshold;
    if (!read_number(lkv_text_word(&rest), &threshold)) {
        lkv_words_fail(run, "hash-threshold needs a number");
    }
}

static void word_skipif(lkv_run *run, char *rest)
{
    if (is_word(lkv_text_word(&rest), "sqlite")) {
        run->skip_next = true;
    }
}

static void word_onlyif(lkv_run *run, char *rest)
{
    if (!is_word(lkv_text_word(&rest), "sqlite")) {
        run->skip_next = true;
    }
}

static void word_halt(lkv_run *run, char *rest)
{
    (void)rest;
    /* Behind some tests it is just the end; before all it leaves a file out. */
    if (run->sum.passed + run->sum.failed == 0) {
        skip_rest(run, "halts before its first test");
    }
    run->stop = true;
}

static void word_connection(lkv_run *run, char *rest)
{
    const char *name = lkv_text_word(&rest);
    if (name == NULL) {
        lkv_words_fail(run, "connection needs a name");
    } else if (lkv_session_connect(&run->session, name) != 0) {
        fail_and_stop(run, "connection");
    }
}

static void word_reopen(lkv_run *run, char *rest)
{
    const char *word = lkv_text_word(&rest);
    enum lkv_session_mode mode = LKV_READWRITE;
    if (is_word(word, "readonly")) {
        mode = LKV_READONLY;
    } else if (is_word(word, "memory")) {
        mode = LKV_IN_MEMORY;
    } else if (word != NULL) {
        lkv_words_fail(run, "reopen has no mode \"%s\"; modes are memory, readonly",
                       word);
        return;
    }
    if (lkv_session_reopen(&run->session, mode) != 0) {
        fail_and_stop(run, "reopen");
    }
}

static void word_crash(lkv_run *run, char *rest)
{
    (void)rest;
    if (lkv_session_crash(&run->session) != 0) {
        fail_and_stop(run, "crash");
    }
}

static void word_backup(lkv_run *run, char *rest)
{
    const char *from = lkv_text_word(&rest);
    const char *to = lkv_text_word(&rest);
    if (to == NULL) {
        lkv_words_fail(run, "backup needs two paths");
        return;
    }
    char *from_path = lkv_session_expand(&run->session, from);
    char *to_path = lkv_session_expand(&run->session, to);
    if (lkv_session_backup(&run->session, from_path, to_path) != 0) {
        lkv_words_fail(run, "backup: %s", run->session.why);
    }
    free(from_path);
    free(to_path);
}

static bool read_byte(const char *word, unsigned char *out)
{
    char *end;
    long number = word != NULL ? strtol(word, &end, 0) : -1;
    if (number < 0 || number > 255 || *end != '\0') {
        return false;
    }
    *out = (unsigned char)number;
    return true;
}

/* `BYTE`, `xor BYTE`, or nothing, which is `xor 0xff`. */
static bool read_change(char **rest, lkv_damage *damage)
{
    const char *word = lkv_text_word(rest);
    damage->keep = 0xff;
    damage->change = 0xff;
    if (word == NULL) {
        return true;
    }
    if (is_word(word, "xor")) {
        word = lkv_text_word(rest);
    } else {
        damage->keep = 0;
    }
    return read_byte(word, &damage->change) && lkv_text_word(rest) == NULL;
}

static void word_damage(lkv_run *run, char *rest)
{
    lkv_damage damage = {.table = lkv_text_word(&rest)};
    damage.object = lkv_text_word(&rest);
    if (!read_number(lkv_text_word(&rest), &damage.number) ||
        damage.number > INT_MAX / 2 ||
        !read_number(lkv_text_word(&rest), &damage.offset) ||
        !read_change(&rest, &damage)) {
        lkv_words_fail(run,
                       "damage needs a table, an object, its number and an offset; "
                       "then [xor] BYTE");
    } else if (lkv_session_damage(&run->session, &damage) != 0) {
        lkv_words_fail(run, "damage: %s", run->session.why);
    }
}

static void word_limit(lkv_run *run, char *rest)
{
    sqlite3_int64 value;
    if (!is_word(lkv_text_word(&rest), "length") ||
        !read_number(lkv_text_word(&rest), &value) || value > INT_MAX) {
        lkv_words_fail(run, "limit needs `length` and a number");
        return;
    }
    sqlite3_limit(run->session.db, SQLITE_LIMIT_LENGTH, (int)value);
}

static void word_defensive(lkv_run *run, char *rest)
{
    const char *word = lkv_text_word(&rest);
    int on = is_word(word, "on");
    if (!on && !is_word(word, "off")) {
        lkv_words_fail(run, "defensive is `on` or `off`");
        return;
    }
    sqlite3_db_config(run->session.db, SQLITE_DBCONFIG_DEFENSIVE, on, NULL);
}

static void word_require(lkv_run *run, char *rest)
{
    sqlite3_int64 version;
    if (!is_word(lkv_text_word(&rest), "sqlite") ||
        !read_number(lkv_text_word(&rest), &version)) {
        lkv_words_fail(run, "require needs `sqlite` and a version number");
    } else if (sqlite3_libversion_number() < version) {
        char reason[96];
        snprintf(reason, sizeof(reason), "needs SQLite %lld, this is %d",
                 (long long)version, sqlite3_libversion_number());
        skip_rest(run, reason);
    }
}

static const struct word {
    const char *name;
    void (*act)(lkv_run *run, char *rest);
    bool one_line; /* other words are followed by SQL, up to a blank line */
} words[] = {
    {"statement", word_statement, false},
    {"query", word_query, false},
    {"plan", word_plan, false},
    {"changes", word_changes, true},
    {"hash-threshold", word_hash_threshold, true},
    {"skipif", word_skipif, true},
    {"onlyif", word_onlyif, true},
    {"halt", word_halt, true},
    {"connection", word_connection, true},
    {"reopen", word_reopen, true},
    {"crash", word_crash, true},
    {"backup", word_backup, true},
    {"damage", word_damage, true},
    {"limit", word_limit, true},
    {"defensive", word_defensive, true},
    {"require", word_require, true},
};

void lkv_words_record(lkv_run *run, char *header)
{
    char *rest = header;
    const char *name = lkv_text_word(&rest);
    const struct word *word = NULL;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (is_word(name, words[i].name)) {
            word = &words[i];
        }
    }
    bool condition = is_word(name, "skipif") || is_word(name, "onlyif");
    if (run->skip_next && !condition) {
        run->skip_next = false;
        if (word == NULL || !word->one_line) {
            lkv_script_block(&run->script);
        }
    } else if (word == NULL) {
        lkv_words_fail(run, "unknown word \"%s\"", name);
        lkv_script_block(&run->script);
    } else if (word->one_line) { /* `$DIR` may have spaces: words first */
        word->act(run, rest);
    } else {
        char *expanded = lkv_session_expand(&run->session, rest);
        word->act(run, expanded);
        free(expanded);
    }
}
