/* tests/gpu/thrust.cu - Thrust's sort, scan and reduction, whose temporary storage is a cudaMalloc
 * each. Prints "hash X" and the time of a round. */
#include "gpu.cuh"

#include <thrust/device_vector.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>

struct scramble {
    __host__ __device__ uint32_t operator()(uint32_t i) const
    {
        i = (i ^ (i >> 16)) * 0x45d9f3bu;
        return i ^ (i >> 16);
    }
};

int main()
{
    uint64_t hash = 1;
    double begun = now_us();

    for (unsigned round = 0; round < 100; round++) {
        thrust::device_vector<uint32_t> v(1000 + round * 3779);
        thrust::sequence(v.begin(), v.end(), round);
        thrust::transform(v.begin(), v.end(), v.begin(), scramble());
        thrust::sort(v.begin(), v.end());
        thrust::device_vector<uint32_t> sums(v.size());
        thrust::inclusive_scan(v.begin(), v.end(), sums.begin());
        hash = hash * 31 + thrust::reduce(sums.begin(), sums.end(), 0u);
    }
    std::printf("us_per_round %.1f\nhash %016llx\n", (now_us() - begun) / 100,
                (unsigned long long)hash);
    return 0;
}
