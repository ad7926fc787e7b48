/*
 * api.h - the table of SQLite's functions that the objects of litekv.so call.
 *
 * SQLite hands it to an extension that it loads. A test may put another one in its
 * place, to have one of these functions fail; every connection that is opened sets
 * SQLite's own again.
 */
#ifndef API_H
#define API_H

#include "check.h"

extern const sqlite3_api_routines *sqlite3_api;

#endif
