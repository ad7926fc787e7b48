/*
 * test_onefile.c - one file read or written whole, with each call of the system failing
 * in turn: the old file stays whole, or the new one is, and nothing else is left.
 */
#include "check.h"
#include "onefile.h"
#include "os_fault.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[200];
static char path[300];

static const lkv_bytes magic = {"LKVtest1", 8};
static const lkv_bytes nothing = {NULL, 0};

static void begin(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/litekv-onefile.XXXXXX",
             base != NULL ? base : "/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        exit(1);
    }
    snprintf(path, sizeof(path), "%s/one", directory);
}

static void end(void)
{
    (void)unlink(path);
    CHECK_INT(rmdir(directory), 0);
}

static void put_file(const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (file != NULL) {
        CHECK(fputs(text, file) >= 0);
        CHECK_INT(fclose(file), 0);
    }
}

/* What the file holds; "" when there is none. */
static const char *content(void)
{
    static char text[200];
    FILE *file = fopen(path, "r");
    size_t size = 0;
    if (file != NULL) {
        size = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[size] = 0;
    return text;
}

static int names(void)
{
    DIR *list = opendir(directory);
    int count = 0;
    if (list == NULL) {
        return -1;
    }
    while (readdir(list) != NULL) {
        count++;
    }
    closedir(list);
    return count - 2; /* . and .. */
}

static int write_one(const lkv_os *os, lkv_bytes replace, lkv_error *err)
{
    lkv_onefile one;
    int rc = lkv_onefile_create(&one, os, path, replace, err);
    if (rc == LKV_OK) {
        rc = lkv_onefile_write(&one, magic);
    }
    if (rc == LKV_OK) {
        rc = lkv_onefile_write(&one, (lkv_bytes){" is new", 7});
    }
    if (rc == LKV_OK) {
        rc = lkv_onefile_finish(&one);
        CHECK_SIZE(one.size, 15);
    }
    lkv_onefile_close(&one);
    return rc;
}

static void writes(void)
{
    lkv_error err = {0};
    begin();
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_OK);
    CHECK_TEXT(content(), "LKVtest1 is new");
    CHECK_INT(names(), 1);
    end();
}

/* Without leave, nothing is overwritten, with it only what is of the same kind. */
static void what_is_there(void)
{
    lkv_error err = {0};

    begin();
    put_file("LKVtest1 is old");
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_MISUSE);
    CHECK_TEXT(err.text, "there is a file of this name already");
    CHECK_TEXT(content(), "LKVtest1 is old");
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_OK);
    CHECK_TEXT(content(), "LKVtest1 is new");
    put_file("LKVtest2 is old");
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_MISUSE);
    CHECK_TEXT(err.text, "what is there is something else and is not overwritten");
    CHECK_TEXT(content(), "LKVtest2 is old");
    put_file("LKV");
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_MISUSE);
    put_file("");
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_MISUSE);
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_MISUSE);
    CHECK_INT(names(), 1);
    end();
}

/* Directories, links and pipes are no files of ours, and a pipe does not wait. */
static void no_files(void)
{
    char other[300];
    lkv_error err = {0};
    lkv_onefile one;

    begin();
    snprintf(other, sizeof(other), "%s/other", directory);
    put_file("LKVtest1 is old");
    CHECK_INT(rename(path, other), 0);
    CHECK_INT(symlink(other, path), 0);
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_MISUSE);
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_MISUSE);
    CHECK_TEXT(content(), "LKVtest1 is old");
    CHECK_INT(lkv_onefile_open(&one, &lkv_os_posix, path, &err), LKV_OK);
    lkv_onefile_close(&one);
    CHECK_INT(unlink(other), 0); /* a link to nothing */
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_MISUSE);
    CHECK_INT(lkv_onefile_open(&one, &lkv_os_posix, path, &err), LKV_IO);
    CHECK_INT(err.os_errno, ENOENT);
    lkv_onefile_close(&one);
    CHECK_INT(unlink(path), 0);

    CHECK_INT(mkfifo(path, 0600), 0);
    CHECK_INT(lkv_onefile_open(&one, &lkv_os_posix, path, &err), LKV_IO);
    CHECK_TEXT(err.text, "it is not a regular file");
    lkv_onefile_close(&one);
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_MISUSE);
    CHECK_INT(unlink(path), 0);

    CHECK_INT(mkdir(path, 0700), 0);
    CHECK_INT(lkv_onefile_open(&one, &lkv_os_posix, path, &err), LKV_IO);
    lkv_onefile_close(&one);
    CHECK_INT(write_one(&lkv_os_posix, magic, &err), LKV_MISUSE);
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_MISUSE);
    CHECK_INT(rmdir(path), 0);
    end();
    CHECK_INT(write_one(&lkv_os_posix, nothing, &err), LKV_IO); /* no directory */
    CHECK_INT(err.os_errno, ENOENT);
}

static void reads(void)
{
    lkv_error err = {0};
    lkv_onefile one;
    char bytes[20] = "";

    begin();
    put_file("LKVtest1 is old");
    CHECK_INT(lkv_onefile_open(&one, &lkv_os_posix, path, &err), LKV_OK);
    CHECK_SIZE(one.size, 15);
    CHECK_INT(lkv_onefile_read(&one, 9, bytes, 6), LKV_OK);
    CHECK_BYTES(bytes, 6, "is old", 6);
    CHECK_INT(lkv_onefile_read(&one, 9, bytes, 7), LKV_CORRUPT);
    CHECK_TEXT(err.text, "it is cut short");
    CHECK_INT(lkv_onefile_read(&one, 15, bytes, 0), LKV_OK);
    CHECK_INT(lkv_onefile_read(&one, 100, bytes, 1), LKV_CORRUPT);
    lkv_onefile_close(&one);
    end();
}

/* What takes the name while the new file is written is not overwritten. */
static void taken_meanwhile(void)
{
    lkv_error err = {0};
    lkv_onefile one;

    begin();
    CHECK_INT(lkv_onefile_create(&one, &lkv_os_posix, path, nothing, &err), LKV_OK);
    CHECK_INT(lkv_onefile_write(&one, magic), LKV_OK);
    put_file("another");
    CHECK_INT(lkv_onefile_finish(&one), LKV_MISUSE);
    lkv_onefile_close(&one);
    CHECK_TEXT(content(), "another");
    CHECK_INT(names(), 1);
    end();
}

/* Closed before it is finished: as if nothing had been. */
static void given_up(void)
{
    lkv_error err = {0};
    lkv_onefile one;

    begin();
    CHECK_INT(lkv_onefile_create(&one, &lkv_os_posix, path, nothing, &err), LKV_OK);
    CHECK_INT(lkv_onefile_write(&one, magic), LKV_OK);
    CHECK_INT(names(), 1);
    lkv_onefile_close(&one);
    CHECK_INT(names(), 0);
    end();
}

/* Call `nth` fails. Whether one did: otherwise all were tried. */
static int fail_one(uint64_t nth, int for_good, const char *old)
{
    lkv_error err = {0};
    os_fault os;
    int rc;

    os_fault_init(&os);
    if (old[0] != 0) {
        put_file(old);
    }
    os_fault_arm(&os, nth, for_good);
    rc = write_one(&os.os, old[0] != 0 ? magic : nothing, &err);
    if (rc == LKV_OK) {
        CHECK_TEXT(content(), "LKVtest1 is new");
    } else {
        CHECK(strcmp(content(), old) == 0 || strcmp(content(), "LKVtest1 is new") == 0);
        CHECK(rc == LKV_NOMEM || (rc == LKV_IO && err.os_errno != 0));
    }
    if (!for_good) { /* otherwise the removal failed as well */
        CHECK_INT(names(), content()[0] != 0);
    }
    CHECK_SIZE(os.live, 0);
    CHECK_SIZE(os.open_files, 0);
    return os.failures > 0;
}

static void clear(void)
{
    DIR *list = opendir(directory);
    const struct dirent *entry;
    if (list == NULL) {
        return;
    }
    while ((entry = readdir(list)) != NULL) {
        char name[600];
        snprintf(name, sizeof(name), "%s/%s", directory, entry->d_name);
        (void)unlink(name);
    }
    closedir(list);
}

static void every_call_fails(void)
{
    static const char *const old[] = {"", "LKVtest1 is old"};
    begin();
    for (size_t i = 0; i < 2; i++) {
        for (int for_good = 0; for_good < 2; for_good++) {
            uint64_t n = 1;
            while (fail_one(n, for_good, old[i]) && n < 100) {
                clear();
                n++;
            }
            CHECK(n > 8 && n < 100);
            clear();
        }
    }
    end();
}

static void every_read_fails(void)
{
    lkv_error err = {0};
    lkv_onefile one;
    char bytes[8];
    os_fault os;

    begin();
    put_file("LKVtest1 is old");
    os_fault_init(&os);
    for (uint64_t n = 1; n <= 4; n++) {
        int rc;
        os_fault_arm(&os, n, 0);
        rc = lkv_onefile_open(&one, &os.os, path, &err);
        if (rc == LKV_OK) {
            rc = lkv_onefile_read(&one, 0, bytes, 8);
        }
        CHECK_INT(rc, n <= 3 ? LKV_IO : LKV_OK);
        lkv_onefile_close(&one);
        CHECK_SIZE(os.open_files, 0);
    }
    end();
}

/* --- the order of writing --- */

static char order[200];

static void note(const char *what)
{
    size_t size = strlen(order);
    snprintf(order + size, sizeof(order) - size, "%s ", what);
}

static int noted_write(void *ctx, int file, const void *bytes, size_t size)
{
    note("write");
    return lkv_os_posix_files.write(ctx, file, bytes, size);
}

static int noted_sync(void *ctx, int file)
{
    struct stat about;
    CHECK_INT(fstat(file, &about), 0);
    note(S_ISDIR(about.st_mode) ? "sync-directory" : "sync");
    return lkv_os_posix_files.sync(ctx, file);
}

static int noted_rename(void *ctx, const char *from, const char *to, int replace)
{
    note("rename");
    return lkv_os_posix_files.rename(ctx, from, to, replace);
}

static void in_order(void)
{
    lkv_os_files noted = lkv_os_posix_files;
    lkv_os os = lkv_os_posix;
    lkv_error err = {0};

    begin();
    noted.write = noted_write;
    noted.sync = noted_sync;
    noted.rename = noted_rename;
    os.files = &noted;
    order[0] = 0;
    CHECK_INT(write_one(&os, nothing, &err), LKV_OK);
    CHECK_TEXT(order, "write write sync rename sync-directory ");
    end();
}

static const check_case cases[] = {CASE(writes),           CASE(what_is_there),
                                   CASE(no_files),         CASE(reads),
                                   CASE(taken_meanwhile),  CASE(given_up),
                                   CASE(every_call_fails), CASE(every_read_fails),
                                   CASE(in_order)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
