# Prints the test files of SQLite's veryquick permutation, one a line, and then those named on the
# command line as patterns (veryquick leaves out crash, I/O-error and fault files, which concern a VFS most).
# Run as: testfixture files.tcl TESTDIR ?PATTERN...?

set patterns [lrange $argv 1 end]
set argv0 [file join [lindex $argv 0] files.tcl]
set argv {}
source [file join [file dirname $argv0] permutations.test]

array set veryquick $::testspec(veryquick)
set wanted $veryquick(-files)
foreach pattern $patterns {
  set found 0
  foreach f $::alltests {
    if {[string match $pattern [file tail $f]]} { lappend wanted $f; set found 1 }
  }
  if {!$found} { error "no test file is called $pattern" }
}
foreach f [lsort -unique $wanted] { puts "file: [file tail $f]" }
exit 0
