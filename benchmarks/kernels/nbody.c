// Five bodies under gravity, double precision: multiplications, divisions, square roots.

#include "bench.h"

enum { BODIES = 5 };
static const double STEP = 0.001;
static struct body {
    double x[3], v[3], mass;
} bodies[BODIES];

static void setup(void)
{
    for (int i = 0; i < BODIES; i++) {
        double d = i + 1;
        bodies[i] = (struct body){{d * 1.5, d * d - 3, 0.5 - d}, {0.3 / d, -0.2 * d, 0.1}, 4 / d};
    }
}

static void attract(struct body *a, struct body *b)
{
    double d[3], square = 0.01;
    for (int k = 0; k < 3; k++) {
        d[k] = a->x[k] - b->x[k];
        square += d[k] * d[k];
    }
    double pull = STEP / (square * __builtin_sqrt(square));
    for (int k = 0; k < 3; k++) {
        a->v[k] -= d[k] * b->mass * pull;
        b->v[k] += d[k] * a->mass * pull;
    }
}

static uint64_t run(long n)
{
    for (long step = 0; step < n; step++) {
        for (int i = 0; i < BODIES; i++)
            for (int j = i + 1; j < BODIES; j++) attract(&bodies[i], &bodies[j]);
        for (int i = 0; i < BODIES; i++)
            for (int k = 0; k < 3; k++) bodies[i].x[k] += STEP * bodies[i].v[k];
    }
    return bits_of(bodies[0].x[0]) ^ bits_of(bodies[4].v[2]);
}

const struct kernel nbody_kernel = {"nbody", setup, run, 400000};
