#include "klineagg/exact_sum.hpp"

#include <algorithm>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// Four sums as a bar keeps them: pairs for as long as they are exact, then wide.
struct Sums {
    SumPairs pairs;
    SumRest rest;
    SumForm form = SumForm::pair;

    void add(double quantity, double value, bool taker_buy) {
        if (form == SumForm::pair && add_pair(pairs, quantity, value, taker_buy)) return;
        WideSums wide = load_wide(form, pairs, rest);
        wide.lanes[VOLUME].add(quantity);
        wide.lanes[QUOTE_VOLUME].add(value);
        if (taker_buy) wide.lanes[TAKER_BUY_VOLUME].add(quantity);
        if (taker_buy) wide.lanes[TAKER_BUY_QUOTE].add(value);
        store_wide(wide, pairs, rest);
        form = SumForm::wide;
    }
    void merge(const Sums& other) {
        const bool both_pairs = form == SumForm::pair && other.form == SumForm::pair;
        if (both_pairs && merge_pairs(pairs, other.pairs)) return;
        WideSums wide = load_wide(form, pairs, rest);
        const WideSums more = load_wide(other.form, other.pairs, other.rest);
        for (int lane = 0; lane < SUM_LANES; ++lane) wide.lanes[lane].add(more.lanes[lane]);
        store_wide(wide, pairs, rest);
        form = SumForm::wide;
    }
    [[nodiscard]] double rounded(int lane) const {
        if (form == SumForm::pair) return pairs.hi[lane] + pairs.lo[lane];
        return load_wide(form, pairs, rest).lanes[lane].round();
    }
    [[nodiscard]] Sums canonical() const {
        Sums result = *this;
        if (form == SumForm::pair) normalize_pairs(result.pairs);
        else result.form = store_canonical(load_wide(form, pairs, rest), result.pairs, result.rest);
        return result;
    }
    friend bool operator==(const Sums& a, const Sums& b) {
        return a.form == b.form && std::memcmp(&a.pairs, &b.pairs, sizeof a.pairs) == 0 &&
               std::memcmp(&a.rest, &b.rest, sizeof a.rest) == 0;
    }
};

struct Amount {
    double quantity;
    double value;
    bool taker_buy;
};

enum class Family { market, spread, extreme, sparse, cancelling };
constexpr int FAMILIES = 5;

double amount_of(Rng& rng, Family family) {
    switch (family) {
        case Family::cancelling:
        case Family::market: return static_cast<double>(between(rng, 1, 1'000'000)) / 1e5;
        case Family::spread: return wild_amount(rng);
        case Family::extreme: return std::ldexp(1.0, chance(rng, 50) ? 100 : -100);
        case Family::sparse: break;
    }
    // Few bits, far apart: sums that are halves of a last place, and carries over many bits.
    const int exponent = static_cast<int>(between(rng, -47, 99));
    const double top = std::ldexp(1.0, exponent);
    const double low = std::ldexp(1.0, exponent - static_cast<int>(between(rng, 1, 52)));
    return chance(rng, 50) ? top + low : top - low;
}

std::vector<Amount> amounts_of(Rng& rng, Family family, std::size_t count) {
    std::vector<Amount> amounts;
    for (std::size_t i = 0; i < count; ++i) {
        // Values below zero: trades at negative prices. Some take back what came before.
        double value = amount_of(rng, family) * (chance(rng, 35) ? -1.0 : 1.0);
        if (i > 0 && chance(rng, 20)) value = -amounts[pick(rng, i)].value;
        amounts.push_back({amount_of(rng, family), value, chance(rng, 50)});
        if (family != Family::cancelling) continue;
        // What is large goes away again, so that a pair is enough in the end, if not on the way.
        const double large = std::ldexp(amount_of(rng, family), 80);
        for (const double part : {large, large * 0x1p-60, -large, -large * 0x1p-60})
            amounts.push_back({1.0, part, true});
    }
    return amounts;
}

/// The lanes in which `sums` is not the rounding of the true sum of `amounts`.
int wrong_lanes(const Sums& sums, const std::vector<Amount>& amounts, std::size_t count) {
    BitSum truth[SUM_LANES];
    for (std::size_t i = 0; i < count; ++i) {
        const Amount& amount = amounts[i];
        truth[VOLUME].add(amount.quantity);
        truth[QUOTE_VOLUME].add(amount.value);
        if (amount.taker_buy) truth[TAKER_BUY_VOLUME].add(amount.quantity);
        if (amount.taker_buy) truth[TAKER_BUY_QUOTE].add(amount.value);
    }
    int wrong = 0;
    for (int lane = 0; lane < SUM_LANES; ++lane)
        wrong += !same_bits(sums.rounded(lane), truth[lane].rounded());
    return wrong;
}

/// Knuth's TwoSum with plain doubles: the rounding error of a + b.
double rounding_error(double a, double b) {
    const double sum = a + b;
    const double b_rounded = sum - a;
    return (a - (sum - b_rounded)) + (b - b_rounded);
}

}  // namespace

TEST_CASE("checked_sum tells exact sums from rounded ones", "[exact_sum]") {
    Rng rng(1);
    int disagreements = 0, exact_seen = 0, inexact_seen = 0;
    for (int i = 0; i < 300'000; ++i) {
        double terms[4];
        for (double& term : terms) {
            const double size = amount_of(rng, static_cast<Family>(pick(rng, FAMILIES)));
            term = chance(rng, 10) ? 0.0 : chance(rng, 50) ? -size : size;
        }
        // Neighbours in size, where one bit decides.
        if (chance(rng, 50)) terms[1] = std::ldexp(terms[0], -static_cast<int>(pick(rng, 55)));
        if (chance(rng, 30)) terms[2] = -std::nextafter(terms[3], 1.0);
        detail::Int2 rest = {0, 0};
        (void)detail::checked_sum(detail::Double2{terms[0], terms[2]},
                                  detail::Double2{terms[1], terms[3]}, rest);
        const bool exact = rounding_error(terms[0], terms[1]) == 0.0 &&
                           rounding_error(terms[2], terms[3]) == 0.0;
        (exact ? exact_seen : inexact_seen) += 1;
        disagreements += exact == detail::any_bit(rest);
    }
    CHECK(disagreements == 0);
    CHECK(exact_seen > 1'000);
    CHECK(inexact_seen > 1'000);
}

TEST_CASE("sums of any amounts in any order are correctly rounded", "[exact_sum]") {
    Rng rng(2);
    int wide = 0, pairs = 0;
    for (int round = 0; round < 400; ++round) {
        const auto family = static_cast<Family>(round % FAMILIES);
        const auto amounts = amounts_of(rng, family, 1 + pick(rng, 60));
        Sums sums;
        int wrong = 0;
        for (std::size_t i = 0; i < amounts.size(); ++i) {
            sums.add(amounts[i].quantity, amounts[i].value, amounts[i].taker_buy);
            if (i % 7 == 0 || i + 1 == amounts.size()) wrong += wrong_lanes(sums, amounts, i + 1);
        }
        INFO("round " << round);
        REQUIRE(wrong == 0);
        (sums.form == SumForm::wide ? wide : pairs) += 1;
    }
    // Both forms were at work.
    CHECK(wide > 50);
    CHECK(pairs > 50);
}

TEST_CASE("the canonical form is one for all orders and all ways of merging", "[exact_sum]") {
    Rng rng(3);
    int wide = 0, narrowed = 0;  // canonical pairs that were wide on the way
    for (int round = 0; round < 200; ++round) {
        auto amounts = amounts_of(rng, static_cast<Family>(round % FAMILIES), 2 + pick(rng, 25));
        Sums reference;
        for (const Amount& a : amounts) reference.add(a.quantity, a.value, a.taker_buy);
        const Sums expected = reference.canonical();
        bool wide_seen = false;
        for (int order = 0; order < 12; ++order) {
            std::shuffle(amounts.begin(), amounts.end(), rng);
            std::vector<Sums> parts;
            for (const Amount& a : amounts) {
                if (parts.empty() || chance(rng, 40)) parts.emplace_back();
                parts.back().add(a.quantity, a.value, a.taker_buy);
                if (chance(rng, 10)) parts.back() = parts.back().canonical();
            }
            while (parts.size() > 1) {  // any association
                const std::size_t left = pick(rng, parts.size() - 1);
                parts[left].merge(parts[left + 1]);
                parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(left) + 1);
            }
            wide_seen = wide_seen || parts[0].form == SumForm::wide;
            Sums widened = parts[0];  // the same value reached as a pair and as a wide sum
            store_wide(load_wide(widened.form, widened.pairs, widened.rest), widened.pairs,
                       widened.rest);
            widened.form = SumForm::wide;
            INFO("round " << round << ", order " << order);
            REQUIRE(parts[0].canonical() == expected);
            REQUIRE(widened.canonical() == expected);
        }
        REQUIRE(expected.canonical() == expected);
        wide += expected.form == SumForm::wide;
        narrowed += expected.form == SumForm::pair && wide_seen;
    }
    CHECK(wide > 20);
    CHECK(narrowed > 10);
}

TEST_CASE("a sum that a pair cannot hold is refused and changes nothing", "[exact_sum]") {
    SumPairs sums;
    REQUIRE(add_pair(sums, 0x1p100, 1.0, true));
    REQUIRE(add_pair(sums, 1.0, 1.0, false));
    const SumPairs before = sums;  // 2^100 + 1 + 2^-100 has parts that no two doubles can share
    CHECK_FALSE(add_pair(sums, 0x1p-100, 1.0, false));
    CHECK(std::memcmp(&sums, &before, sizeof sums) == 0);
    SumPairs other;
    REQUIRE(add_pair(other, 0x1p-100, 5.0, true));
    CHECK_FALSE(merge_pairs(sums, other));
    CHECK(std::memcmp(&sums, &before, sizeof sums) == 0);

    Sums wide{sums, {}, SumForm::pair};
    wide.add(0x1p-100, 1.0, false);
    REQUIRE(wide.form == SumForm::wide);
    CHECK(wide.canonical().form == SumForm::wide);
    CHECK(wide.rounded(QUOTE_VOLUME) == 3.0);
    CHECK(wide.rounded(TAKER_BUY_VOLUME) == 0x1p100);
    CHECK(wide.rounded(TAKER_BUY_QUOTE) == 1.0);
    // Without the large part the rest fits again.
    wide.add(-0x1p100, -3.0, true);
    const Sums small = wide.canonical();
    CHECK(small.form == SumForm::pair);
    CHECK(small.pairs.hi[VOLUME] == 1.0);
    CHECK(small.pairs.lo[VOLUME] == 0x1p-100);
    CHECK(small.rounded(TAKER_BUY_VOLUME) == 0.0);
    CHECK_FALSE(std::signbit(small.rounded(QUOTE_VOLUME)));
}

TEST_CASE("half way rounds to even, in both forms and with both signs", "[exact_sum]") {
    struct Case {
        std::vector<double> terms;
        double sum;
    };
    const double eps = 0x1p-52;
    const std::vector<Case> cases{
        {{1.0, eps / 2}, 1.0},
        {{1.0, eps / 2, 0x1p-100}, 1.0 + eps},
        {{1.0, eps / 2, -0x1p-100}, 1.0},
        {{1.0 + eps, eps / 2}, 1.0 + 2 * eps},
        {{1.0 + eps, eps / 2, -0x1p-100}, 1.0 + eps},
        {{2.0 - eps, eps / 2}, 2.0},                     // carries into the next power of two
        {{2.0 - eps, eps / 2, -0x1p-100}, 2.0 - eps},
        {{1.0, -eps / 4}, 1.0},                          // the spacing below 1 is half as wide
        {{1.0, -eps / 4, -0x1p-100}, 1.0 - eps / 2},
        {{0x1p100, 0x1p47}, 0x1p100},
        {{0x1p100, 0x1p47, 0x1p-100}, 0x1p100 + 0x1p48},
        {{0x1p100, 0x1p-100, -0x1p100}, 0x1p-100},
        {{0x1p-100 * (1 + eps), -0x1p-100}, 0x1p-152},   // the unit itself
        {{3.0, -3.0}, 0.0},
    };
    for (const Case& item : cases) {
        for (const double sign : {1.0, -1.0}) {
            Sums sums;
            WideSum wide;
            BitSum slow;
            for (const double term : item.terms) {
                sums.add(term * sign, term * sign, true);
                wide.add(term * sign);
                slow.add(term * sign);
            }
            const double expected = item.sum == 0.0 ? 0.0 : item.sum * sign;
            INFO("expected " << expected);
            CHECK(same_bits(wide.round(), expected));
            CHECK(sums.rounded(VOLUME) == expected);
            CHECK(sums.canonical().rounded(TAKER_BUY_QUOTE) == expected);
            CHECK(slow.rounded() == expected);
        }
    }
}

TEST_CASE("wide sums hold 2^63 of the largest amounts beside the smallest", "[exact_sum]") {
    for (const double sign : {1.0, -1.0}) {
        WideSum sum;
        sum.add(sign * AMOUNT_MAX);
        for (int doubling = 0; doubling < 63; ++doubling) {
            const WideSum half = sum;
            sum.add(half);
        }
        CHECK(sum.round() == sign * 0x1p163);
        WideSum opposite;
        opposite.add(-sign * AMOUNT_MAX);
        for (int doubling = 0; doubling < 63; ++doubling) {
            const WideSum half = opposite;
            opposite.add(half);
        }
        sum.add(sign * AMOUNT_MIN);
        sum.add(opposite);
        CHECK(sum.round() == sign * AMOUNT_MIN);
        sum.add(-sign * AMOUNT_MIN);
        CHECK(sum.round() == 0.0);
        CHECK_FALSE(std::signbit(sum.round()));
    }
}
