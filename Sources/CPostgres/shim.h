// Debian keeps libpq's headers in a folder of their own, which is on the way that every compiler looks.
#include <postgresql/libpq-fe.h>
