/* Events of the file system that specs can take away, see events.c. */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdbool.h>

/* Refused: folders cannot be watched, as when the user's limit of inotify is used up. */
void events_refuse(bool refuse);
/* The next time a folder is about to be watched, a line is added to this file. NULL: to none. */
void events_race(const char *path);

#endif
