// hiredis is used for its reader alone: Sluice does its own I/O (see decision 1, "hiredis without its sockets").
#include <stdlib.h>
#include <hiredis/read.h>
#include <hiredis/sds.h>
