#include "sample/weight.h"

#include <string.h>

#define LN2 0.69314718055994530942

double xs_log_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    int exponent = (int)(bits >> 52 & 0x7FF) - 1023;
    bits = (bits & UINT64_C(0x000FFFFFFFFFFFFF)) | UINT64_C(0x3FF0000000000000);
    double m;
    memcpy(&m, &bits, sizeof(m));
    if (m > 1.41421356237309504880) {
        m /= 2;
        exponent++;
    }
    /* 2 atanh((m - 1) / (m + 1)), |argument| <= 0.172 */
    double t = (m - 1) / (m + 1);
    double square = t * t;
    double sum = 0;
    for (int k = 17; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return 2 * t * sum + exponent * LN2;
}

double xs_one_less_exp(double x)
{
    if (x > 40)
        return 1;
    /* x = halvings' power of two times a small y; 1 - e^-2y = (2 - (1 - e^-y)) (1 - e^-y) */
    int halvings = 0;
    while (x > 0.25) {
        x /= 2;
        halvings++;
    }
    double sum = 1;
    for (int k = 11; k >= 2; k--)
        sum = 1 - x / k * sum;
    double v = x * sum;
    for (; halvings > 0; halvings--)
        v *= 2 - v;
    return v;
}

double xs_root_of(double x)
{
    uint64_t bits;
    double root;

    if (!(x > 0) || x > 1e300)
        return 0;
    /* Half the exponent, then Newton. */
    memcpy(&bits, &x, sizeof(bits));
    bits = (bits >> 1) + UINT64_C(0x1FF8000000000000);
    memcpy(&root, &bits, sizeof(root));
    for (int i = 0; i < 5; i++)
        root = (root + x / root) / 2;
    return root;
}

/* The finaliser of a counter-based generator (SplitMix64). */
uint64_t xs_random_at(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + n * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t xs_gap_of(uint64_t random, uint64_t mean_bytes)
{
    /* In (0, 1]: 53 bits. */
    double u = (double)((random >> 11) + 1) / 9007199254740992.0;

    return mean_bytes <= 1 ? 0 : (int64_t)(-xs_log_of(u) * (double)mean_bytes);
}

double xs_chance_of(uint64_t size, uint64_t mean_bytes)
{
    return mean_bytes <= 1 ? 1 : xs_one_less_exp((double)size / (double)mean_bytes);
}
