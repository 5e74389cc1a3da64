// montecarlo.cc [SCALE [THREADS]] - prices options on a basket by simulation, in C++ as it is
// written.
//
// Every path is a set of vectors, every payoff an object that is cloned for the path it looks at,
// every batch leaves a map of named results. Prints the prices; all arithmetic has one order,
// whatever the number of threads. Status 1 when the European call is not Black and Scholes' within
// four standard errors, or call and put do not differ by the forward.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace
{

constexpr int assets = 4;
constexpr int steps = 12;
constexpr int batch_paths = 500;
constexpr double rate = 0.03, volatility = 0.2, spot = 100, strike = 105, years = 1, mixing = 0.5;

class Normals
{
  public:
    explicit Normals(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15U + 1)
    {
    }

    double next()
    {
        if (kept_) {
            kept_ = false;
            return other_;
        }
        double u, v, s;
        do {
            u = 2 * uniform() - 1;
            v = 2 * uniform() - 1;
            s = u * u + v * v;
        } while (s >= 1 || s == 0);
        const double f = std::sqrt(-2 * std::log(s) / s);
        other_ = v * f;
        kept_ = true;
        return u * f;
    }

  private:
    double uniform()
    {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<double>((state_ * 0x2545f4914f6cdd1dU) >> 11) * 0x1p-53;
    }

    std::uint64_t state_;
    double other_ = 0;
    bool kept_ = false;
};

using Path = std::vector<double>;
using Basket = std::vector<Path>;

struct CashFlow {
    int step;
    double amount;
    std::shared_ptr<const std::string> currency;
};

class Payoff
{
  public:
    virtual ~Payoff() = default;
    virtual std::unique_ptr<Payoff> clone() const = 0;
    virtual std::deque<CashFlow> flows(const Basket &basket) = 0;
    virtual std::string name() const = 0;

  protected:
    static std::shared_ptr<const std::string> euro()
    {
        return std::make_shared<const std::string>("a currency with a name of some length: EUR");
    }
};

class Vanilla : public Payoff
{
  public:
    explicit Vanilla(double sign) : sign_(sign)
    {
    }
    std::unique_ptr<Payoff> clone() const override
    {
        return std::make_unique<Vanilla>(*this);
    }
    std::string name() const override
    {
        return sign_ > 0 ? "European call on the first asset" : "European put on the first asset";
    }
    std::deque<CashFlow> flows(const Basket &basket) override
    {
        return {{steps, std::max(0.0, sign_ * (basket[0].back() - strike)), euro()}};
    }

  private:
    double sign_;
};

class Asian : public Payoff
{
  public:
    std::unique_ptr<Payoff> clone() const override
    {
        return std::make_unique<Asian>(*this);
    }
    std::string name() const override
    {
        return "Asian call on the mean of the basket";
    }
    std::deque<CashFlow> flows(const Basket &basket) override
    {
        means_.clear();
        for (const auto &path : basket)
            means_.push_back(std::accumulate(path.begin(), path.end(), 0.0) / double(path.size()));
        const double mean = std::accumulate(means_.begin(), means_.end(), 0.0) / assets;
        return {{steps, std::max(0.0, mean - strike), euro()}};
    }

  private:
    std::vector<double> means_;
};

class Autocall : public Payoff
{
  public:
    std::unique_ptr<Payoff> clone() const override
    {
        return std::make_unique<Autocall>(*this);
    }
    std::string name() const override
    {
        return "worst-of autocall with quarterly coupons";
    }
    std::deque<CashFlow> flows(const Basket &basket) override
    {
        std::deque<CashFlow> paid;
        for (int s = 2; s < steps; s += 3) {
            double worst = basket[0][std::size_t(s)];
            for (const auto &path : basket)
                worst = std::min(worst, path[std::size_t(s)]);
            if (worst > 0.7 * spot)
                paid.push_back({s + 1, 2.0, euro()});
            if (worst > spot) {
                paid.push_back({s + 1, 100.0, euro()});
                return paid;
            }
        }
        paid.push_back({steps, 95.0, euro()});
        return paid;
    }
};

struct Sum {
    double value = 0, square = 0;
    long n = 0;
};
using Results = std::map<std::string, Sum>;

Basket simulate(Normals &normals)
{
    const double dt = years / steps;
    const double drift = (rate - volatility * volatility / 2) * dt,
                 width = volatility * std::sqrt(dt);
    const double own = std::sqrt(1 - mixing * mixing);
    Basket basket(assets);
    std::vector<double> level(assets, spot);

    for (int s = 0; s < steps; s++) {
        const double common = normals.next();
        for (std::size_t a = 0; a < assets; a++) {
            level[a] *= std::exp(drift + width * (mixing * common + own * normals.next()));
            basket[a].push_back(level[a]);
        }
    }
    return basket;
}

Results one_batch(long batch, const std::vector<std::unique_ptr<Payoff>> &payoffs)
{
    Normals normals(std::uint64_t(batch) + 1);
    Results results;

    for (int p = 0; p < batch_paths; p++) {
        const Basket basket = simulate(normals);
        for (const auto &payoff : payoffs) {
            double value = 0;
            for (const auto &flow : payoff->clone()->flows(basket))
                value += flow.amount * std::exp(-rate * years * flow.step / steps);
            Sum &sum = results[payoff->name()];
            sum.value += value;
            sum.square += value * value;
            sum.n++;
        }
    }
    return results;
}

double normal_below(double x)
{
    return std::erfc(-x / std::sqrt(2.0)) / 2;
}

bool check(const Results &all)
{
    const double total = volatility * std::sqrt(years);
    const double d1 =
        (std::log(spot / strike) + (rate + volatility * volatility / 2) * years) / total;
    const double right =
        spot * normal_below(d1) - strike * std::exp(-rate * years) * normal_below(d1 - total);
    const Sum &call = all.at("European call on the first asset");
    const Sum &put = all.at("European put on the first asset");
    const double n = double(call.n), mean = call.value / n;
    const double error = std::sqrt((call.square / n - mean * mean) / n);
    const double forward = spot - strike * std::exp(-rate * years);

    if (std::fabs(mean - right) > 4 * error) {
        std::fprintf(stderr, "montecarlo: the call is %.4f +- %.4f, not %.4f\n", mean, error,
                     right);
        return false;
    }
    if (std::fabs(mean - put.value / n - forward) > 4 * volatility * spot / std::sqrt(n)) {
        std::fprintf(stderr, "montecarlo: call and put differ by %.4f, not %.4f\n",
                     mean - put.value / n, forward);
        return false;
    }
    return true;
}

} // namespace

int main(int argc, char **argv)
{
    const double scale = argc > 1 ? std::atof(argv[1]) : 1;
    const int threads = argc > 2 ? std::atoi(argv[2]) : 2;
    const long batches = std::max(4L, long(400 * scale));
    std::vector<std::unique_ptr<Payoff>> payoffs;
    std::vector<Results> of_batch(static_cast<std::size_t>(batches));
    std::vector<std::thread> team;
    std::atomic<long> next{0};
    Results all;

    payoffs.push_back(std::make_unique<Vanilla>(1));
    payoffs.push_back(std::make_unique<Vanilla>(-1));
    payoffs.push_back(std::make_unique<Asian>());
    payoffs.push_back(std::make_unique<Autocall>());
    for (int t = 0; t < threads; t++) {
        team.emplace_back([&] {
            for (long b = next++; b < batches; b = next++)
                of_batch[std::size_t(b)] = one_batch(b, payoffs);
        });
    }
    for (auto &thread : team)
        thread.join();
    for (const auto &results : of_batch) {
        for (const auto &[name, sum] : results) {
            all[name].value += sum.value;
            all[name].square += sum.square;
            all[name].n += sum.n;
        }
    }
    for (const auto &[name, sum] : all)
        std::printf("%-40s %.9f\n", name.c_str(), sum.value / double(sum.n));
    return check(all) ? 0 : 1;
}
