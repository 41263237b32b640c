/*
** The places in sqlite3_api_routines that the extension counts on. The table only ever grows at its
** end, so these hold for every version from 3.32 on; compiling this file checks the header at hand.
*/
#include <stddef.h>
#define SQLITE_CORE 1
#include "sqlite3ext.h"

#define AT(member, slot) \
  _Static_assert(offsetof(struct sqlite3_api_routines, member)==(slot)*sizeof(void*), #member)

#undef sqlite3_api
AT(errcode, 52);
AT(exec, 55);
AT(free, 58);
AT(interruptx, 64);
AT(libversion, 66);
AT(libversion_number, 67);
AT(malloc, 68);
AT(mprintf, 69);
AT(result_error, 80);
AT(result_int64, 83);
AT(result_text, 85);
AT(user_data, 101);
AT(value_text, 109);
AT(file_control, 127);
AT(mutex_leave, 133);
AT(mutex_try, 134);
AT(open_v2, 135);
AT(vfs_find, 141);
AT(vfs_register, 142);
AT(vfs_unregister, 143);
AT(randomness, 148);
AT(context_db_handle, 149);
AT(create_function_v2, 162);
AT(db_mutex, 164);
AT(log, 167);
AT(db_filename, 180);
AT(db_release_memory, 182);
AT(uri_boolean, 187);
AT(uri_int64, 188);
AT(uri_parameter, 189);
AT(auto_extension, 192);
AT(malloc64, 197);
AT(uri_key, 245);
AT(filename_database, 246);
AT(filename_journal, 247);
AT(filename_wal, 248);
AT(create_filename, 249);
AT(free_filename, 250);
AT(database_file_object, 251);
