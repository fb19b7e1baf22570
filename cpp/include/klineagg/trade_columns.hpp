// Columns of trades as they come in: any stride, any time unit, read without copying.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "klineagg/trade.hpp"

namespace klineagg {

inline constexpr std::int32_t NO_SYMBOL = -1;

/// A column with a stride in bytes (0: one value for all rows). Absent when data is null.
struct StridedColumn {
    const char* data = nullptr;
    std::ptrdiff_t stride = 0;

    [[nodiscard]] bool present() const noexcept { return data != nullptr; }
    template <class T>
    [[nodiscard]] T get(std::size_t row) const noexcept {
        T value;  // memcpy: columns of packed structured arrays need not be aligned
        std::memcpy(&value, data + static_cast<std::ptrdiff_t>(row) * stride, sizeof value);
        return value;
    }
    template <class T>
    [[nodiscard]] bool contiguous() const noexcept {
        return stride == static_cast<std::ptrdiff_t>(sizeof(T)) &&
               reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0;
    }
};

/// One batch. The memory belongs to the caller and must outlive the call.
struct TradeColumns {
    std::size_t size = 0;
    StridedColumn symbol;         // int32, NO_SYMBOL for missing
    StridedColumn time;           // int64, in units of time_scale_ns
    StridedColumn price;          // float64
    StridedColumn quantity;       // float64
    StridedColumn side;           // int8, optional
    StridedColumn trade_id;       // int64, optional
    StridedColumn last_trade_id;  // int64, optional: aggregated trades
    StridedColumn flags;          // uint8 of TradeFlag, optional
    std::int64_t time_scale_ns = 1;
    bool side_is_maker = false;   // nonzero side: the buyer is the maker, so the taker sold
};

/// Reads any batch, row by row.
struct AnyRows {
    static constexpr bool SCALED = true;  // a time may leave int64 when it is scaled
    using Record = Trade;  // the smallest form that holds all of a row

    explicit AnyRows(const TradeColumns& columns) : columns_(columns) {}

    [[nodiscard]] std::int32_t symbol(std::size_t row) const noexcept {
        return columns_.symbol.get<std::int32_t>(row);
    }
    [[nodiscard]] std::int64_t raw_time(std::size_t row) const noexcept {
        return columns_.time.get<std::int64_t>(row);
    }
    [[nodiscard]] TimeNs time(std::size_t row) const noexcept {
        return raw_time(row) * columns_.time_scale_ns;
    }
    [[nodiscard]] double price(std::size_t row) const noexcept {
        return columns_.price.get<double>(row);
    }
    [[nodiscard]] double quantity(std::size_t row) const noexcept {
        return columns_.quantity.get<double>(row);
    }
    [[nodiscard]] Record record(std::size_t row) const noexcept { return trade(row); }
    [[nodiscard]] Trade trade(std::size_t row) const noexcept {
        Trade trade;
        trade.time = time(row);
        trade.price = price(row);
        trade.quantity = quantity(row);
        if (columns_.trade_id.present()) trade.id = columns_.trade_id.get<std::int64_t>(row);
        trade.last_id = columns_.last_trade_id.present()
                            ? columns_.last_trade_id.get<std::int64_t>(row)
                            : trade.id;
        if (!columns_.trade_id.present()) trade.id = trade.last_id;
        if (columns_.side.present()) {
            const auto side = columns_.side.get<std::int8_t>(row);
            trade.taker_buy = columns_.side_is_maker ? side == 0 : side > 0;
        }
        if (columns_.flags.present()) trade.flags = columns_.flags.get<std::uint8_t>(row);
        return trade;
    }

private:
    TradeColumns columns_;
};

/// Reads a batch whose columns are contiguous nanoseconds and plain trades: the fast path.
template <bool HasSide, bool HasId>
struct PlainRows {
    static constexpr bool SCALED = false;
    using Record = PlainTrade;

    explicit PlainRows(const TradeColumns& columns)
        : symbol_(reinterpret_cast<const std::int32_t*>(columns.symbol.data)),
          time_(reinterpret_cast<const TimeNs*>(columns.time.data)),
          price_(reinterpret_cast<const double*>(columns.price.data)),
          quantity_(reinterpret_cast<const double*>(columns.quantity.data)),
          side_(reinterpret_cast<const std::int8_t*>(columns.side.data)),
          id_(reinterpret_cast<const std::int64_t*>(columns.trade_id.data)) {}

    [[nodiscard]] static bool fits(const TradeColumns& columns) noexcept {
        return columns.symbol.contiguous<std::int32_t>() && columns.time.contiguous<TimeNs>() &&
               columns.price.contiguous<double>() && columns.quantity.contiguous<double>() &&
               (HasSide ? columns.side.present() && columns.side.contiguous<std::int8_t>() &&
                              !columns.side_is_maker
                        : !columns.side.present()) &&
               (HasId ? columns.trade_id.present() && columns.trade_id.contiguous<std::int64_t>()
                      : !columns.trade_id.present()) &&
               !columns.last_trade_id.present() && !columns.flags.present() &&
               columns.time_scale_ns == 1;
    }

    [[nodiscard]] std::int32_t symbol(std::size_t row) const noexcept { return symbol_[row]; }
    [[nodiscard]] std::int64_t raw_time(std::size_t row) const noexcept { return time_[row]; }
    [[nodiscard]] TimeNs time(std::size_t row) const noexcept { return time_[row]; }
    [[nodiscard]] double price(std::size_t row) const noexcept { return price_[row]; }
    [[nodiscard]] double quantity(std::size_t row) const noexcept { return quantity_[row]; }
    [[nodiscard]] Trade trade(std::size_t row) const noexcept {
        Trade trade;
        trade.time = time_[row];
        trade.price = price_[row];
        trade.quantity = quantity_[row];
        if constexpr (HasId) trade.id = trade.last_id = id_[row];
        if constexpr (HasSide) trade.taker_buy = side_[row] > 0;
        return trade;
    }
    /// Of a row that was judged: its quantity is above zero.
    [[nodiscard]] Record record(std::size_t row) const noexcept {
        const bool taker_buy = HasSide && side_[row] > 0;
        // Without a branch: the sides of trades cannot be foretold.
        const auto sign = static_cast<std::uint64_t>(!taker_buy) << 63;
        const auto quantity = std::bit_cast<std::uint64_t>(quantity_[row]) | sign;
        return {time_[row], price_[row], std::bit_cast<double>(quantity),
                HasId ? id_[row] : NO_TRADE_ID};
    }

private:
    const std::int32_t* symbol_;
    const TimeNs* time_;
    const double* price_;
    const double* quantity_;
    const std::int8_t* side_;
    const std::int64_t* id_;
};

/// Calls `body` with the fastest reader that fits the batch.
template <class Body>
void with_rows(const TradeColumns& columns, Body&& body) {
    if (PlainRows<true, true>::fits(columns)) return body(PlainRows<true, true>(columns));
    if (PlainRows<true, false>::fits(columns)) return body(PlainRows<true, false>(columns));
    if (PlainRows<false, true>::fits(columns)) return body(PlainRows<false, true>(columns));
    if (PlainRows<false, false>::fits(columns)) return body(PlainRows<false, false>(columns));
    body(AnyRows(columns));
}

}  // namespace klineagg
