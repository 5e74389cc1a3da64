/* multigrid.c [SCALE] - Poisson's equation on patches of many sizes by V-cycles.
 *
 * As a solver on adaptive patches does it: every patch, every level and every cycle allocates its
 * grids, an array of rows each, and frees them when it is done. The right-hand side has a known
 * solution; prints the residuals and errors. Status 1 when an error is not below what second order
 * allows, or when a patch does not converge.
 */
#include <math.h>
#include <string.h>

#include "bench.h"

enum { SMALLEST = 3, MOST_CYCLES = 20 };

static const double pi = 3.14159265358979323846;

/* (n + 1) x (n + 1) points, all 0. */
static double **grid_new(int n)
{
    double **g = malloc((size_t)(n + 1) * sizeof(*g));

    for (int i = 0; g != NULL && i <= n; i++) {
        g[i] = calloc((size_t)n + 1, sizeof(**g));
        if (g[i] == NULL)
            broken("no memory");
    }
    if (g == NULL)
        broken("no memory");
    return g;
}

static void grid_free(double **g, int n)
{
    for (int i = 0; i <= n; i++)
        free(g[i]);
    free(g);
}

/* Gauss and Seidel, red points before black ones. */
static void smooth(double **u, double **f, int n)
{
    double h2 = 1.0 / ((double)n * n);

    for (int colour = 0; colour < 2; colour++) {
        for (int i = 1; i < n; i++) {
            for (int j = 1 + ((i + colour) & 1); j < n; j += 2)
                u[i][j] =
                    (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1] + h2 * f[i][j]) / 4;
        }
    }
}

static double **residual_new(double **u, double **f, int n)
{
    double **r = grid_new(n);
    double n2 = (double)n * n;

    for (int i = 1; i < n; i++) {
        for (int j = 1; j < n; j++)
            r[i][j] = f[i][j] -
                      n2 * (4 * u[i][j] - u[i - 1][j] - u[i + 1][j] - u[i][j - 1] - u[i][j + 1]);
    }
    return r;
}

static double **restrict_new(double **fine, int n)
{
    double **g = grid_new(n / 2);

    for (int i = 1; i < n / 2; i++) {
        for (int j = 1; j < n / 2; j++) {
            int x = 2 * i, y = 2 * j;

            g[i][j] = fine[x][y] / 4 +
                      (fine[x - 1][y] + fine[x + 1][y] + fine[x][y - 1] + fine[x][y + 1]) / 8 +
                      (fine[x - 1][y - 1] + fine[x - 1][y + 1] + fine[x + 1][y - 1] +
                       fine[x + 1][y + 1]) /
                          16;
        }
    }
    return g;
}

static void prolong_add(double **u, double **coarse, int n)
{
    for (int i = 1; i < n; i++) {
        for (int j = 1; j < n; j++) {
            int x = i / 2, y = j / 2, right = x + (i & 1), up = y + (j & 1);

            u[i][j] += (coarse[x][y] + coarse[right][y] + coarse[x][up] + coarse[right][up]) / 4;
        }
    }
}

static void cycle(double **u, double **f, int n)
{
    double **r, **coarse_f, **coarse_u;

    for (int i = 0; i < 2; i++)
        smooth(u, f, n);
    if (n / 2 < SMALLEST - 1)
        return;
    r = residual_new(u, f, n);
    coarse_f = restrict_new(r, n);
    grid_free(r, n);
    coarse_u = grid_new(n / 2);
    cycle(coarse_u, coarse_f, n / 2);
    prolong_add(u, coarse_u, n);
    grid_free(coarse_u, n / 2);
    grid_free(coarse_f, n / 2);
    for (int i = 0; i < 2; i++)
        smooth(u, f, n);
}

static double norm(double **r, int n)
{
    double sum = 0;

    for (int i = 1; i < n; i++) {
        for (int j = 1; j < n; j++)
            sum += r[i][j] * r[i][j];
    }
    return sqrt(sum) / n;
}

/* -u'' = f with u = sin(a pi x) sin(b pi y), 0 at the edges. */
static double solve(int n, int a, int b, int *cycles)
{
    double **u = grid_new(n), **f = grid_new(n);
    double first, left, worst = 0;

    for (int i = 0; i <= n; i++) {
        for (int j = 0; j <= n; j++)
            f[i][j] = pi * pi * (a * a + b * b) * sin(a * pi * i / n) * sin(b * pi * j / n);
    }
    first = left = norm(f, n);
    for (*cycles = 0; *cycles < MOST_CYCLES && left > 1e-8 * first; ++*cycles) {
        double **r;

        cycle(u, f, n);
        r = residual_new(u, f, n);
        left = norm(r, n);
        grid_free(r, n);
    }
    if (left > 1e-8 * first)
        broken("multigrid: a patch does not converge");
    for (int i = 0; i <= n; i++) {
        for (int j = 0; j <= n; j++) {
            double error = fabs(u[i][j] - sin(a * pi * i / n) * sin(b * pi * j / n));

            if (error > worst)
                worst = error;
        }
    }
    grid_free(u, n);
    grid_free(f, n);
    return worst;
}

int main(int argc, char **argv)
{
    double scale = argc > 1 ? atof(argv[1]) : 1;
    int patches = (int)(300 * scale) < 6 ? 6 : (int)(300 * scale);

    for (int p = 0; p < patches; p++) {
        /* Most patches are small. */
        int n = 16 << (p % 12 == 11 ? 4 : p % 6 == 5 ? 3 : p % 3), a = 1 + p % 2, b = 1 + p / 2 % 3;
        int cycles;
        double error = solve(n, a, b, &cycles);
        double k = a > b ? a : b, bound = 1.2 * pi * pi * k * k / (12.0 * n * n);

        if (error > bound) {
            fprintf(stderr, "multigrid: error %g on a grid of %d, above %g\n", error, n, bound);
            return 1;
        }
        if (p % 10 == 0)
            printf("%d %d %d %d %.9g\n", n, a, b, cycles, error);
    }
    return 0;
}
