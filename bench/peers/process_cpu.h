/* The processor time that processes have used, as the kernel counts it. */
#ifndef PROCESS_CPU_H
#define PROCESS_CPU_H

#include "loopback.h"

#include <dirent.h>

/* Returns the processor time of all live threads of a process in ns, or 0 without a process. */
static inline double process_cpu_ns(int pid)
{
    char path[64];
    double total = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = pid ? opendir(path) : NULL;
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char name[sizeof path + 280];
        snprintf(name, sizeof name, "%s/%s/schedstat", path, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(name, "re");
        double spent = 0;
        if (file && fscanf(file, "%lf", &spent) == 1)
            total += spent;
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return total;
}

/* Returns the processor time of this program in ns. */
static inline double own_cpu_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec * NANOSECONDS + (double)spent.tv_nsec;
}

#endif
