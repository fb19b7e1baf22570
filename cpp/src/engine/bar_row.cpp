#include "klineagg/engine/bar_row.hpp"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "klineagg/detail/prefetch.hpp"
#include "klineagg/detail/transpose.hpp"

namespace klineagg::engine {

namespace {

constexpr std::size_t LINE_ROWS = detail::CACHE_LINE / 8;

/// Where the columns of 8 bytes go on, in the order of a row's words.
using Words = std::array<unsigned char*, EIGHT_BYTE_COLUMNS>;
static_assert(offsetof(BarRow, open_time) == 0);
static_assert(offsetof(BarRow, symbol) == 8 * EIGHT_BYTE_COLUMNS);
static_assert(VOLUME == 0 && QUOTE_VOLUME == 1 && TAKER_BUY_VOLUME == 2 && TAKER_BUY_QUOTE == 3);

Words words_at(const BarColumns& to, std::int64_t place) noexcept {
    const auto at = [place](auto* column) {
        static_assert(sizeof *column == 8);
        return reinterpret_cast<unsigned char*>(column + place);
    };
    return {at(to.open_time), at(to.close_time), at(to.open), at(to.high), at(to.low),
            at(to.close), at(to.volume), at(to.quote_volume), at(to.taker_buy_volume),
            at(to.taker_buy_quote_volume), at(to.trade_count), at(to.first_trade_id),
            at(to.last_trade_id), at(to.first_trade_time), at(to.last_trade_time)};
}

std::uint64_t word_of(const BarRow& row, std::size_t word) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const unsigned char*>(&row) + 8 * word, 8);
    return value;
}

/// The words of a few rows.
void write_words(const Words& to, const BarRow* const* rows, std::size_t count) noexcept {
    for (std::size_t word = 0; word < to.size(); ++word) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t value = word_of(*rows[i], word);
            std::memcpy(to[word] + 8 * i, &value, 8);
        }
    }
}

// A line of every column, past the caches, as all of it is: a line that is written whole need not
// be read first.

void write_line(const Words& to, const BarRow* const* rows) noexcept {
#ifdef __SSE2__
    for (std::size_t word = 0; word < to.size(); ++word) {
        for (std::size_t i = 0; i < LINE_ROWS; i += 2) {
            const auto first = std::bit_cast<std::int64_t>(word_of(*rows[i], word));
            const auto second = std::bit_cast<std::int64_t>(word_of(*rows[i + 1], word));
            _mm_stream_si128(reinterpret_cast<__m128i*>(to[word] + 8 * i),
                             _mm_set_epi64x(second, first));
        }
    }
#else
    write_words(to, rows, LINE_ROWS);
#endif
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void write_line_widely(const Words& to, const BarRow* const* rows) noexcept {
    constexpr std::size_t WIDTH = 4;
    static_assert(sizeof(BarRow) >= 8 * ((EIGHT_BYTE_COLUMNS + WIDTH - 1) / WIDTH * WIDTH));
    for (std::size_t first = 0; first < EIGHT_BYTE_COLUMNS; first += WIDTH) {
        __m256d halves[2][WIDTH];
        for (std::size_t half = 0; half < 2; ++half) {
            for (std::size_t i = 0; i < WIDTH; ++i)
                halves[half][i] = _mm256_loadu_pd(
                    reinterpret_cast<const double*>(rows[WIDTH * half + i]) + first);
            detail::transpose(halves[half]);
        }
        for (std::size_t i = 0; i < WIDTH && first + i < EIGHT_BYTE_COLUMNS; ++i) {
            auto* const place = reinterpret_cast<double*>(to[first + i]);
            _mm256_stream_pd(place, halves[0][i]);
            _mm256_stream_pd(place + WIDTH, halves[1][i]);
        }
    }
}
#endif

using WriteLine = void (*)(const Words&, const BarRow* const*) noexcept;

void write_rows_by(WriteLine write_whole, const BarColumns& to, std::int64_t place,
                   const BarRow* const* rows, std::size_t count) noexcept {
    Words words = words_at(to, place);
    for (std::size_t i = 0; i < count;) {
        // The columns lie whole lines from each other.
        const auto in_line = reinterpret_cast<std::uintptr_t>(words[0]) % detail::CACHE_LINE / 8;
        const std::size_t some = std::min(LINE_ROWS - in_line, count - i);
        if (some == LINE_ROWS) write_whole(words, rows + i);
        else write_words(words, rows + i, some);
        for (unsigned char*& word : words) word += 8 * some;
        i += some;
    }
    const auto write = [&](auto* column, auto&& value_of) {
        column += place;
        for (std::size_t i = 0; i < count; ++i) column[i] = value_of(*rows[i]);
    };
    write(to.symbol, [](const BarRow& row) { return row.symbol; });
    write(to.interval, [](const BarRow& row) { return row.interval; });
    write(to.run_length, [](const BarRow& row) { return row.run_length; });
    write(to.revision, [](const BarRow& row) { return row.revision; });
    write(to.flags, [](const BarRow& row) { return row.flags; });
}

}  // namespace

void write_rows_portably(const BarColumns& to, std::int64_t place, const BarRow* const* rows,
                         std::size_t count) noexcept {
    write_rows_by(write_line, to, place, rows, count);
}

void write_rows(const BarColumns& to, std::int64_t place, const BarRow* const* rows,
                std::size_t count) noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) [[likely]] {
        write_rows_by(write_line_widely, to, place, rows, count);
        return;
    }
#endif
    write_rows_portably(to, place, rows, count);
}

}  // namespace klineagg::engine
