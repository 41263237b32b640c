# Says which VFS a plain "open a database" gets, before and after a shutdown, and what the first bytes of
# the database are on the disk, so that a run which silently tested the wrong VFS cannot pass.

proc probe {when} {
  sqlite3 db probe.db
  db eval { CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(randomblob(3000)) }
  puts "vfs $when: [file_control_vfsname db]"
  puts "page size $when: [db one { PRAGMA page_size }]"
  db close
}

probe first
sqlite3_shutdown
sqlite3_initialize
probe again
set f [open probe.db rb]
puts "head: [binary encode hex [read $f 16]]"
close $f
exit 0
