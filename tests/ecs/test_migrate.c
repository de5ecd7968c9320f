#include "ecs_schema.h"
#include "world.h"
int main(void) { return test_report(); }
