/*
** Makes Cofferdam's VFS the default inside SQLite's own test program.
**
** The program is built with -DSQLITE_EXTRA_INIT=cofferdam_extra_init, so SQLite calls this at the end
** of every sqlite3_initialize(), also of the one that follows a shutdown, which puts "unix" back as
** the default. Without COFFERDAM_EXTENSION in the environment nothing happens: that is the run to
** compare with.
**
** Some tests look at a database past SQLite: `file size`, hexio_read and hexio_write. On a sealed file
** they would see frames, so here they are asked of the VFS: what they get and change is what SQLite
** itself would get and change. Tests that use a Tcl channel on the file cannot be helped.
*/
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tcl.h>
#include "sqlite3.h"

struct sqlite3_api_routines;
typedef int (*EntryPoint)(sqlite3*, char**, const struct sqlite3_api_routines*);

/* The API table is static inside SQLite; only what is loaded into a connection is shown it. */
static const struct sqlite3_api_routines *apiRoutines = 0;
static EntryPoint entryPoint = 0;

static int captureApi(sqlite3 *db, char **error, const struct sqlite3_api_routines *api){
  (void)db; (void)error;
  apiRoutines = api;
  return SQLITE_OK;
}

static void giveUp(const char *step, const char *why){
  fprintf(stderr, "cofferdam_extra_init: %s: %s\n", step, why ? why : "no reason given");
  exit(70);
}

/* Once a process, before anything else could have been registered. */
static void load(const char *path){
  sqlite3 *db = 0;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if( library==0 ) giveUp("dlopen", dlerror());
  entryPoint = (EntryPoint)dlsym(library, "sqlite3_cofferdam_init");
  if( entryPoint==0 ) giveUp("dlsym", dlerror());
  sqlite3_auto_extension((void(*)(void))captureApi);
  if( sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, "unix")!=SQLITE_OK || apiRoutines==0 ){
    giveUp("API table", sqlite3_errmsg(db));
  }
  sqlite3_close(db);
  sqlite3_reset_auto_extension();
}

int cofferdam_extra_init(const char *unused){
  const char *path = getenv("COFFERDAM_EXTENSION");
  char *error = 0;
  sqlite3_vfs *vfs;
  int rc;
  (void)unused;
  if( path==0 || path[0]==0 ) return SQLITE_OK;
  if( entryPoint==0 ) load(path);
  rc = entryPoint(0, &error, apiRoutines);
  if( rc!=SQLITE_OK && rc!=SQLITE_OK_LOAD_PERMANENTLY ) giveUp("sqlite3_cofferdam_init", error);
  vfs = sqlite3_vfs_find("cofferdam");
  if( vfs==0 ) giveUp("sqlite3_vfs_find", "no VFS is called cofferdam");
  return sqlite3_vfs_register(vfs, 1);
}

/* A file of the VFS under test, opened beside whatever handles SQLite has on it. */
typedef struct {
  sqlite3_file *file;
  sqlite3_filename allocated;
} Side;

static int endsWith(const char *text, const char *end){
  size_t n = strlen(text), m = strlen(end);
  return n>m && strcmp(text+n-m, end)==0;
}

/* The database's path for a journal's or WAL's, the form in which a VFS expects names. */
static sqlite3_filename nameFor(const char *path, int *flags, sqlite3_filename *allocated){
  char database[4096];
  char journal[4200];
  char wal[4200];
  size_t n = strlen(path);
  *flags = SQLITE_OPEN_MAIN_DB;
  if( endsWith(path, "-journal") ){ n -= 8; *flags = SQLITE_OPEN_MAIN_JOURNAL; }
  if( endsWith(path, "-wal") ){ n -= 4; *flags = SQLITE_OPEN_WAL; }
  /* Shared memory is mapped by the VFS below and never sealed. */
  if( n==0 || n>=sizeof(database) || endsWith(path, "-shm") ) return 0;
  memcpy(database, path, n);
  database[n] = 0;
  snprintf(journal, sizeof(journal), "%s-journal", database);
  snprintf(wal, sizeof(wal), "%s-wal", database);
  *allocated = sqlite3_create_filename(database, journal, wal, 0, 0);
  if( *allocated==0 || *flags==SQLITE_OPEN_MAIN_DB ) return *allocated;
  return *flags==SQLITE_OPEN_WAL ? sqlite3_filename_wal(*allocated) : sqlite3_filename_journal(*allocated);
}

static int openSide(const char *given, int access, Side *side){
  sqlite3_vfs *vfs = sqlite3_vfs_find("cofferdam");
  char path[4096];
  int flags;
  sqlite3_filename name;
  memset(side, 0, sizeof(*side));
  if( vfs==0 || vfs->xFullPathname(vfs, given, sizeof(path), path)!=SQLITE_OK ) return SQLITE_ERROR;
  name = nameFor(path, &flags, &side->allocated);
  side->file = calloc(1, (size_t)vfs->szOsFile);
  return name && side->file ? vfs->xOpen(vfs, name, side->file, flags | access, &flags) : SQLITE_CANTOPEN;
}

static void closeSide(Side *side){
  if( side->file && side->file->pMethods ) side->file->pMethods->xClose(side->file);
  free(side->file);
  if( side->allocated ) sqlite3_free_filename(side->allocated);
}

/* vfs_size FILE */
static int sizeCommand(void *unused, Tcl_Interp *interp, int count, Tcl_Obj *const *words){
  Side side;
  sqlite3_int64 size = 0;
  int rc;
  (void)unused;
  if( count!=2 ){ Tcl_WrongNumArgs(interp, 1, words, "FILE"); return TCL_ERROR; }
  rc = openSide(Tcl_GetString(words[1]), SQLITE_OPEN_READONLY, &side);
  if( rc==SQLITE_OK ) rc = side.file->pMethods->xFileSize(side.file, &size);
  closeSide(&side);
  if( rc!=SQLITE_OK ){ Tcl_SetObjResult(interp, Tcl_NewIntObj(rc)); return TCL_ERROR; }
  Tcl_SetObjResult(interp, Tcl_NewWideIntObj(size));
  return TCL_OK;
}

/* vfs_read FILE OFFSET COUNT: the bytes there are, fewer at the end. */
static int readCommand(void *unused, Tcl_Interp *interp, int count, Tcl_Obj *const *words){
  Side side;
  sqlite3_int64 size = 0;
  Tcl_WideInt offset;
  unsigned char *bytes;
  int wanted, rc;
  (void)unused;
  if( count!=4 || Tcl_GetWideIntFromObj(interp, words[2], &offset) || Tcl_GetIntFromObj(interp, words[3], &wanted) ){
    return TCL_ERROR;
  }
  bytes = calloc(1, (size_t)wanted + 1);
  rc = openSide(Tcl_GetString(words[1]), SQLITE_OPEN_READONLY, &side);
  if( rc==SQLITE_OK ) rc = side.file->pMethods->xFileSize(side.file, &size);
  if( rc==SQLITE_OK && offset+wanted>size ) wanted = offset<size ? (int)(size-offset) : 0;
  if( rc==SQLITE_OK && wanted>0 ) rc = side.file->pMethods->xRead(side.file, bytes, wanted, offset);
  closeSide(&side);
  Tcl_SetObjResult(interp, rc==SQLITE_OK ? Tcl_NewByteArrayObj(bytes, wanted) : Tcl_NewIntObj(rc));
  free(bytes);
  return rc==SQLITE_OK ? TCL_OK : TCL_ERROR;
}

/* vfs_write FILE OFFSET BYTES */
static int writeCommand(void *unused, Tcl_Interp *interp, int count, Tcl_Obj *const *words){
  Side side;
  Tcl_WideInt offset;
  unsigned char *bytes;
  int length, rc;
  (void)unused;
  if( count!=4 || Tcl_GetWideIntFromObj(interp, words[2], &offset) ) return TCL_ERROR;
  bytes = Tcl_GetByteArrayFromObj(words[3], &length);
  rc = openSide(Tcl_GetString(words[1]), SQLITE_OPEN_READWRITE, &side);
  if( rc==SQLITE_OK ) rc = side.file->pMethods->xWrite(side.file, bytes, length, offset);
  closeSide(&side);
  Tcl_SetObjResult(interp, Tcl_NewIntObj(rc==SQLITE_OK ? length : rc));
  return rc==SQLITE_OK ? TCL_OK : TCL_ERROR;
}

/* Where the VFS cannot open a file, it is none of ours and is seen as it lies on the disk. */
static const char *translation =
  "rename file unsealed_file\n"
  "proc file {what args} {\n"
  "  if {$what eq {size} && [llength $args]==1 && [unsealed_file exists [lindex $args 0]]\n"
  "   && ![catch {vfs_size [lindex $args 0]} size]} { return $size }\n"
  "  uplevel 1 [list unsealed_file $what {*}$args]\n"
  "}\n"
  "rename hexio_read unsealed_hexio_read\n"
  "proc hexio_read {path offset count} {\n"
  "  if {[catch {vfs_read $path $offset $count} bytes]} { return [unsealed_hexio_read $path $offset $count] }\n"
  "  string toupper [binary encode hex $bytes]\n"
  "}\n"
  "rename hexio_write unsealed_hexio_write\n"
  "proc hexio_write {path offset hex} {\n"
  "  if {![unsealed_file exists $path] || [catch {vfs_write $path $offset [binary decode hex $hex]} count]} {\n"
  "    return [unsealed_hexio_write $path $offset $hex]\n"
  "  }\n"
  "  return $count\n"
  "}\n"
  "rename load_testfixture_extensions unsealed_load_testfixture_extensions\n"
  "proc load_testfixture_extensions {slave} {\n"
  "  unsealed_load_testfixture_extensions $slave\n"
  "  vfs_install $slave\n"
  "}\n";

/* Teaches an interpreter to look at sealed files through the VFS. */
static void install(Tcl_Interp *interp);

/* vfs_install SLAVE: the suite runs each test file in an interpreter of its own. */
static int installCommand(void *unused, Tcl_Interp *interp, int count, Tcl_Obj *const *words){
  Tcl_Interp *slave = count==2 ? Tcl_GetSlave(interp, Tcl_GetString(words[1])) : 0;
  (void)unused;
  if( slave==0 ) return TCL_ERROR;
  install(slave);
  return TCL_OK;
}

static void install(Tcl_Interp *interp){
  Tcl_CreateObjCommand(interp, "vfs_size", sizeCommand, 0, 0);
  Tcl_CreateObjCommand(interp, "vfs_read", readCommand, 0, 0);
  Tcl_CreateObjCommand(interp, "vfs_write", writeCommand, 0, 0);
  Tcl_CreateObjCommand(interp, "vfs_install", installCommand, 0, 0);
  if( Tcl_Eval(interp, translation)!=TCL_OK ) giveUp("translation", Tcl_GetStringResult(interp));
}

const char *sqlite3TestInit(Tcl_Interp*);

/* The program is built with -DTCLSH_INIT_PROC=cofferdam_test_init. */
const char *cofferdam_test_init(Tcl_Interp *interp){
  const char *program = sqlite3TestInit(interp);
  const char *path = getenv("COFFERDAM_EXTENSION");
  if( path && path[0] ) install(interp);
  return program;
}
