/*
 * declare.c - reading the arguments of CREATE VIRTUAL TABLE.
 *
 *   argument:  option = value   |   name [type] [PRIMARY KEY] [NOT NULL]
 *
 * An option's value is a number, a word or a quoted string; comments may stand between
 * words. The constraints are those
 * that hold anyway, and only the first column, the key, may name them; every other is
 * refused by its name, because a constraint that is accepted and not kept would be a
 * trap.
 */
#include "declare.h"

#include "option.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

typedef struct token {
    const char *at;
    size_t size;
    enum { END, WORD, QUOTED, SIGN, OPEN } kind; /* OPEN: a quote without its end */
} token;

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '$' || (c & 0x80) != 0;
}

/* SQLite leaves comments in the arguments. */
static const char *skip_blank(const char *p)
{
    for (;;) {
        if (is_space(*p)) {
            p++;
        } else if (p[0] == '-' && p[1] == '-') {
            p += strcspn(p, "\n");
        } else if (p[0] == '/' && p[1] == '*') {
            const char *end = strstr(p + 2, "*/");
            p = end == NULL ? p + strlen(p) : end + 2;
        } else {
            return p;
        }
    }
}

static token next_token(const char **at)
{
    token found = {NULL, 0, END};
    const char *p = skip_blank(*at);
    found.at = p;
    if (*p == '"' || *p == '\'' || *p == '`' || *p == '[') {
        char close = *p == '[' ? ']' : *p;
        found.kind = OPEN;
        for (p++; *p != 0; p++) {
            if (*p == close) {
                if (close == ']' || p[1] != close) {
                    found.kind = QUOTED;
                    p++;
                    break;
                }
                p++;
            }
        }
    } else if (is_word(*p)) {
        found.kind = WORD;
        while (is_word(*p)) {
            p++;
        }
    } else if (*p != 0) {
        found.kind = SIGN;
        p++;
    }
    found.size = (size_t)(p - found.at);
    *at = p;
    return found;
}

static int is(token t, const char *word)
{
    return t.kind == WORD && t.size == strlen(word) &&
           sqlite3_strnicmp(t.at, word, (int)t.size) == 0;
}

/* The token's text without its quotes; NULL without memory. */
static char *text_of(token t)
{
    char *text;
    size_t size = 0;
    if (t.kind != QUOTED) {
        return sqlite3_mprintf("%.*s", (int)t.size, t.at);
    }
    text = sqlite3_malloc64(t.size);
    if (text != NULL) {
        char close = t.at[0] == '[' ? ']' : t.at[0];
        for (size_t i = 1; i + 1 < t.size; i++) {
            text[size++] = t.at[i];
            if (t.at[i] == close) {
                i++; /* a doubled quote; a bracket ends at the first one */
            }
        }
        text[size] = 0;
    }
    return text;
}

static const char *const constraints[] = {
    "UNIQUE", "CHECK",      "DEFAULT", "COLLATE", "REFERENCES",    "GENERATED",
    "AS",     "CONSTRAINT", "FOREIGN", "HIDDEN",  "AUTOINCREMENT", "ON"};

static int is_constraint(token t)
{
    for (size_t i = 0; i < sizeof(constraints) / sizeof(constraints[0]); i++) {
        if (is(t, constraints[i])) {
            return 1;
        }
    }
    return is(t, "PRIMARY") || is(t, "NOT") || is(t, "NULL");
}

static int is_reserved(const char *name)
{
    static const char *const reserved[] = {"expires_at", "updated_at", "revision"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (sqlite3_stricmp(name, reserved[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

int lkv_declaration_check_table(const char *name, char **text)
{
    if (is_reserved(name)) {
        return lkv_option_refuse(
            text, sqlite3_mprintf("litekv: \"%w\": the name is reserved; "
                                  "choose another",
                                  name));
    }
    return SQLITE_OK;
}

static int check_name(const lkv_declaration *declaration, const char *name,
                      const char *table, char **text)
{
    if (name[0] == 0) {
        return lkv_option_refuse(text,
                                 sqlite3_mprintf("litekv: a column has an empty name"));
    }
    if (sqlite3_stricmp(name, table) == 0) {
        return lkv_option_refuse(
            text, sqlite3_mprintf("litekv: column \"%s\": a column cannot have "
                                  "the table's name; choose another",
                                  name));
    }
    if (is_reserved(name)) {
        return lkv_option_refuse(
            text, sqlite3_mprintf("litekv: column \"%s\": the name is reserved; "
                                  "choose another",
                                  name));
    }
    for (int i = 0; i < declaration->columns; i++) {
        if (sqlite3_stricmp(name, declaration->column[i].name) == 0) {
            return lkv_option_refuse(
                text, sqlite3_mprintf("litekv: column \"%s\" is declared twice", name));
        }
    }
    return SQLITE_OK;
}

#define A_COLUMN "; a column is: name [type], and the key's may be PRIMARY KEY NOT NULL"

/* What follows a column's type. */
static int read_constraints(const char *name, int first, const char *at, char **text)
{
    token t = next_token(&at);
    while (t.kind != END) {
        token second = next_token(&at);
        int known = (is(t, "PRIMARY") && is(second, "KEY")) ||
                    (is(t, "NOT") && is(second, "NULL"));
        if (!known || !first) {
            return lkv_option_refuse(
                text,
                sqlite3_mprintf("litekv: column \"%s\": %.*s%s%.*s is not supported%s",
                                name, (int)t.size, t.at, known ? " " : "",
                                known ? (int)second.size : 0, second.at,
                                known ? "; only the first column, the key, has it"
                                      : A_COLUMN));
        }
        t = next_token(&at);
    }
    return SQLITE_OK;
}

static int add_column(lkv_declaration *declaration, char *name, char *type)
{
    lkv_column *moved =
        sqlite3_realloc64(declaration->column,
                          (sqlite3_uint64)(declaration->columns + 1) * sizeof(*moved));
    if (name == NULL || type == NULL || moved == NULL) {
        declaration->column = moved == NULL ? declaration->column : moved;
        sqlite3_free(name);
        sqlite3_free(type);
        return SQLITE_NOMEM;
    }
    declaration->column = moved;
    moved += declaration->columns++;
    moved->name = name;
    moved->type = type;
    moved->affinity = lkv_affinity_of(type);
    return SQLITE_OK;
}

/* Whether a type may have this token. SQLite looks for the word hidden in the text of a
 * type, also between quotes, and would hide the column; a comma would begin another. */
static int is_in_a_type(token t, int depth)
{
    if (t.kind == QUOTED) {
        for (size_t i = 0; i + 6 < t.size; i++) {
            if (sqlite3_strnicmp(t.at + i, "hidden", 6) == 0) {
                return 0;
            }
        }
    }
    return t.kind == WORD || t.kind == QUOTED ||
           (t.kind == SIGN && strchr("()+-.", *t.at) != NULL) ||
           (t.kind == SIGN && *t.at == ',' && depth > 0);
}

/* Whether SQLite would hide a column for the text of its type, comments included. */
static int hides(const char *at, size_t size)
{
    for (size_t i = 0; i + 6 <= size; i++) {
        if (sqlite3_strnicmp(at + i, "hidden", 6) == 0 &&
            (i == 0 || at[i - 1] == ' ') && (i + 6 == size || at[i + 6] == ' ')) {
            return 1;
        }
    }
    return 0;
}

/* A constraint where a column should be: by its name, which may be of two words. */
static int refuse_constraint(token first, const char *at, char **text)
{
    token second = next_token(&at);
    int key = is(second, "KEY");
    return lkv_option_refuse(
        text,
        sqlite3_mprintf("litekv: %.*s%s is not supported; an argument is: name [type], "
                        "or: option = value",
                        (int)first.size, first.at, key ? " KEY" : ""));
}

static int read_column(lkv_declaration *declaration, token first, const char *at,
                       const char *table, char **text)
{
    char *name;
    const char *type = NULL, *type_end = NULL, *end = at;
    int depth = 0, rc;

    /* Two of these words are names too, as they are for SQLite. */
    if (is_constraint(first) && !is(first, "HIDDEN") && !is(first, "GENERATED")) {
        return refuse_constraint(first, at, text);
    }
    name = text_of(first);
    if (name == NULL) {
        return SQLITE_NOMEM;
    }
    rc = check_name(declaration, name, table, text);
    for (;;) {
        const char *before = end;
        token t = next_token(&end);
        if (t.kind == END || (depth == 0 && is_constraint(t))) {
            end = before;
            break;
        }
        depth += t.kind == SIGN && *t.at == '(' ? 1 : 0;
        depth -= t.kind == SIGN && *t.at == ')' ? 1 : 0;
        if (rc == SQLITE_OK && (depth < 0 || !is_in_a_type(t, depth))) {
            rc = lkv_option_refuse(
                text, sqlite3_mprintf("litekv: column \"%s\": unexpected %.*s" A_COLUMN,
                                      name, (int)t.size, t.at));
        }
        type = type == NULL ? t.at : type;
        type_end = end;
    }
    if (rc == SQLITE_OK && type != NULL && hides(type, (size_t)(type_end - type))) {
        rc = lkv_option_refuse(
            text,
            sqlite3_mprintf("litekv: column \"%s\": a comment in its type has the "
                            "word hidden",
                            name));
    }
    if (rc == SQLITE_OK) {
        rc = read_constraints(name, declaration->columns == 0, end, text);
    }
    if (rc != SQLITE_OK) {
        sqlite3_free(name);
        return rc;
    }
    return add_column(declaration, name,
                      type == NULL
                          ? sqlite3_mprintf("")
                          : sqlite3_mprintf("%.*s", (int)(type_end - type), type));
}

/* What follows the `=`: one quoted string, or characters without a blank between them;
 * NULL when it is neither, or without memory. */
static char *option_value(const char *at, int *malformed)
{
    const char *end;
    token value = next_token(&at);
    *malformed = 0;
    if (value.kind == WORD || value.kind == SIGN) {
        for (end = value.at; is_word(*end) || (*end != 0 && strchr("+-.", *end));
             end++) {
        }
        value.size = (size_t)(end - value.at);
        at = end;
    }
    if (value.kind == END || value.kind == OPEN || value.size == 0 ||
        next_token(&at).kind != END) {
        *malformed = 1;
        return NULL;
    }
    return text_of(value);
}

static int read_argument(lkv_declaration *declaration, const char *argument,
                         const char *table, char **text)
{
    const char *at = argument;
    token first = next_token(&at);
    const char *after = at;
    token second = next_token(&after);
    int rc;

    if (first.kind == SIGN || first.kind == OPEN || first.kind == END) {
        return lkv_option_refuse(
            text, sqlite3_mprintf("litekv: argument \"%s\" is neither a column "
                                  "(name [type]) nor an option (name = value)",
                                  argument));
    }
    if (second.kind == SIGN && *second.at == '=') {
        int malformed;
        char *name = text_of(first), *word = option_value(after, &malformed);
        if (malformed && name != NULL) {
            rc = lkv_option_refuse(
                text, sqlite3_mprintf("litekv: option \"%s\": the value must be a "
                                      "number, a word or a quoted string",
                                      name));
        } else if (name == NULL || word == NULL) {
            rc = SQLITE_NOMEM;
        } else {
            rc = lkv_option_read(declaration, name, word, text);
        }
        sqlite3_free(name);
        sqlite3_free(word);
        return rc;
    }
    return read_column(declaration, first, at, table, text);
}

int lkv_declaration_read(lkv_declaration *declaration, int argc,
                         const char *const *argv, char **text)
{
    int rc = lkv_declaration_check_table(argv[2], text);
    memset(declaration, 0, sizeof(*declaration));
    lkv_option_defaults(declaration);
    for (int i = 3; i < argc && rc == SQLITE_OK; i++) {
        rc = read_argument(declaration, argv[i], argv[2], text);
    }
    if (rc == SQLITE_OK && declaration->columns == 0) {
        rc = read_argument(declaration, "key", argv[2], text);
        if (rc == SQLITE_OK) {
            rc = read_argument(declaration, "value", argv[2], text);
        }
    }
    return rc == SQLITE_OK ? lkv_option_check(declaration, text) : rc;
}

void lkv_declaration_free(lkv_declaration *declaration)
{
    for (int i = 0; i < declaration->columns; i++) {
        sqlite3_free(declaration->column[i].name);
        sqlite3_free(declaration->column[i].type);
    }
    sqlite3_free(declaration->column);
    sqlite3_free(declaration->path);
    memset(declaration, 0, sizeof(*declaration));
}

char *lkv_declaration_columns(const lkv_declaration *declaration)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    for (int i = 0; i < declaration->columns; i++) {
        const lkv_column *column = &declaration->column[i];
        sqlite3_str_appendf(text, "%s\"%w\"%s%s", i == 0 ? "(" : ", ", column->name,
                            column->type[0] == 0 ? "" : " ", column->type);
    }
    sqlite3_str_appendall(text, ")");
    return sqlite3_str_finish(text);
}

char *lkv_declaration_sql(const lkv_declaration *declaration, const char *table)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendall(sql, "CREATE TABLE x(");
    for (int i = 0; i < declaration->columns; i++) {
        const lkv_column *column = &declaration->column[i];
        sqlite3_str_appendf(sql, "\"%w\" %s, ", column->name, column->type);
    }
    sqlite3_str_appendf(sql, "\"%w\" HIDDEN, PRIMARY KEY(\"%w\")) WITHOUT ROWID", table,
                        declaration->column[0].name);
    return sqlite3_str_finish(sql);
}
