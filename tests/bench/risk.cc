// risk.cc [SCALE [THREADS]] - a batch that revalues a portfolio under scenarios, in C++ as it is
// written.
//
// Trades are read from lines of text, kept by type, grouped into netting sets by counterparty; each
// scenario builds its market, its cash flows and its report of strings. Amounts are whole cents, so
// that sums do not depend on the order of threads. Prints values at risk by book. Status 1 when
// what the counterparties, the books and the trades lose do not agree in every scenario.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

namespace
{

using Cents = std::int64_t;

class Random
{
  public:
    explicit Random(std::uint64_t seed) : state_((seed + 1) * 0x9e3779b97f4a7c15U)
    {
        below(2);
    }
    std::uint32_t below(std::uint32_t bound)
    {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return std::uint32_t((((state_ * 0x2545f4914f6cdd1dU) >> 32) * bound) >> 32);
    }

  private:
    std::uint64_t state_;
};

struct Bond {
    Cents nominal;
    std::vector<int> coupon_basis_points;
};
struct Swap {
    Cents nominal;
    int fixed_basis_points;
    std::list<int> resets;
};
struct Equity {
    std::string ticker;
    std::int64_t shares;
};
struct Trade {
    std::string id, counterparty, book;
    std::variant<Bond, Swap, Equity> what;
};

struct Market {
    std::vector<std::int64_t> rates; // in hundredths of a basis point, by year
    std::unordered_map<std::string, Cents> prices;
};

std::string ticker(std::uint32_t n)
{
    return "LISTED-COMPANY-" + std::to_string(n);
}

// The portfolio as a file would have it.
std::string portfolio_text(int trades)
{
    Random random(7);
    std::ostringstream out;
    for (int t = 0; t < trades; t++) {
        out << "TRADE-" << 100000 + t << ";COUNTERPARTY-"
            << random.below(1 + std::uint32_t(trades) / 25) << ";BOOK-" << random.below(12) << ';';
        switch (random.below(3)) {
        case 0:
            out << "BOND;" << (1 + random.below(100)) * 100000;
            for (std::uint32_t y = 0, years = 1 + random.below(30); y < years; y++)
                out << ';' << 100 + random.below(400);
            break;
        case 1:
            out << "SWAP;" << (1 + random.below(100)) * 1000000 << ';' << 100 + random.below(400);
            for (std::uint32_t y = 0, years = 1 + random.below(20); y < years; y++)
                out << ';' << y;
            break;
        default:
            out << "EQUITY;" << ticker(random.below(200)) << ';' << 1 + random.below(1000);
        }
        out << '\n';
    }
    return out.str();
}

std::vector<std::string> split(const std::string &line)
{
    std::vector<std::string> parts;
    std::size_t from = 0;
    for (std::size_t at; (at = line.find(';', from)) != std::string::npos; from = at + 1)
        parts.push_back(line.substr(from, at - from));
    parts.push_back(line.substr(from));
    return parts;
}

std::vector<std::shared_ptr<const Trade>> parse(const std::string &text)
{
    std::vector<std::shared_ptr<const Trade>> trades;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        const auto part = split(line);
        Trade trade{part[0], part[1], part[2], {}};
        if (part[3] == "BOND") {
            Bond bond{std::stoll(part[4]), {}};
            for (std::size_t i = 5; i < part.size(); i++)
                bond.coupon_basis_points.push_back(std::stoi(part[i]));
            trade.what = std::move(bond);
        } else if (part[3] == "SWAP") {
            Swap swap{std::stoll(part[4]), std::stoi(part[5]), {}};
            for (std::size_t i = 6; i < part.size(); i++)
                swap.resets.push_back(std::stoi(part[i]));
            trade.what = std::move(swap);
        } else {
            trade.what = Equity{part[4], std::stoll(part[5])};
        }
        trades.push_back(std::make_shared<const Trade>(std::move(trade)));
    }
    return trades;
}

Market market_of(int scenario)
{
    Random random(std::uint64_t(scenario) + 1000);
    Market market;
    for (int y = 0; y < 31; y++)
        market.rates.push_back(20000 + std::int64_t(random.below(10000)) * (scenario > 0));
    for (std::uint32_t n = 0; n < 200; n++)
        market.prices.emplace(ticker(n),
                              5000 + Cents(n) * 10 + Cents(random.below(2000)) * (scenario > 0));
    return market;
}

struct Flow {
    int year;
    Cents amount;
};

std::unique_ptr<std::vector<Flow>> flows_of(const Trade &trade, const Market &market)
{
    auto flows = std::make_unique<std::vector<Flow>>();
    if (const auto *bond = std::get_if<Bond>(&trade.what)) {
        int year = 0;
        for (int coupon : bond->coupon_basis_points)
            flows->push_back({year++, bond->nominal * coupon / 10000});
        flows->push_back({year - 1, bond->nominal});
    } else if (const auto *swap = std::get_if<Swap>(&trade.what)) {
        for (int year : swap->resets)
            flows->push_back(
                {year, swap->nominal *
                           (market.rates[std::size_t(year)] / 100 - swap->fixed_basis_points) /
                           10000});
    } else {
        const auto &equity = std::get<Equity>(trade.what);
        flows->push_back({0, equity.shares * market.prices.at(equity.ticker)});
    }
    return flows;
}

Cents value_of(const Trade &trade, const Market &market)
{
    Cents sum = 0;
    const auto flows = flows_of(trade, market);
    for (const Flow &flow : *flows) {
        const std::int64_t yearly = 1000000 - market.rates[std::size_t(flow.year)];
        Cents amount = flow.amount;
        for (int y = 0; y < flow.year; y++)
            amount = amount * yearly / 1000000;
        sum += amount;
    }
    return sum;
}

struct Outcome {
    std::map<std::string, Cents> by_book;
    std::size_t report_bytes = 0;
};

// One scenario; false when the sums do not agree.
bool revalue(const std::vector<std::shared_ptr<const Trade>> &trades, int scenario,
             Outcome &outcome)
{
    const Market base = market_of(0), shifted = market_of(scenario);
    std::unordered_map<std::string, std::vector<std::pair<std::shared_ptr<const Trade>, Cents>>>
        netting;
    std::set<std::string> worst;
    std::string report;
    Cents whole = 0, by_counterparty = 0, by_book = 0;

    for (const auto &trade : trades) {
        const Cents change = value_of(*trade, shifted) - value_of(*trade, base);
        netting[trade->counterparty].emplace_back(trade, change);
        outcome.by_book[trade->book] += change;
        whole += change;
    }
    for (auto &[name, set] : netting) {
        Cents net = 0;
        std::sort(set.begin(), set.end(),
                  [](const auto &a, const auto &b) { return a.second < b.second; });
        for (const auto &[trade, change] : set)
            net += change;
        by_counterparty += net;
        worst.insert(set.front().first->id + " of " + name);
        report += name + " " + std::to_string(net) + "\n";
    }
    for (const auto &[name, change] : outcome.by_book)
        by_book += change;
    outcome.report_bytes = report.size() + worst.size() + worst.begin()->size();
    return whole == by_counterparty && whole == by_book;
}

} // namespace

int main(int argc, char **argv)
{
    const double scale = argc > 1 ? std::atof(argv[1]) : 1;
    const int threads = argc > 2 ? std::atoi(argv[2]) : 2;
    const int scenarios = std::max(20, int(150 * scale));
    const auto trades = parse(portfolio_text(std::max(200, int(4000 * std::min(scale, 1.0)))));
    std::vector<Outcome> outcomes(static_cast<std::size_t>(scenarios));
    std::vector<std::thread> team;
    std::atomic<int> next{0};
    std::atomic<bool> right{true};

    for (int t = 0; t < threads; t++) {
        team.emplace_back([&] {
            for (int s = next++; s < scenarios; s = next++) {
                if (!revalue(trades, s + 1, outcomes[std::size_t(s)]))
                    right = false;
            }
        });
    }
    for (auto &thread : team)
        thread.join();

    std::map<std::string, std::vector<Cents>> losses;
    std::size_t bytes = 0;
    for (const auto &outcome : outcomes) {
        for (const auto &[book, change] : outcome.by_book)
            losses[book].push_back(change);
        bytes += outcome.report_bytes;
    }
    for (auto &[book, changes] : losses) {
        std::sort(changes.begin(), changes.end());
        std::printf("%s value at risk %lld\n", book.c_str(),
                    -static_cast<long long>(changes[changes.size() / 20]));
    }
    std::printf("%zu trades, %zu bytes of reports\n", trades.size(), bytes);
    if (!right)
        std::fputs("risk: sums do not agree\n", stderr);
    return right ? 0 : 1;
}
