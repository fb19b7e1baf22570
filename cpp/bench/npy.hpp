// Trades from columns in .npy files, as benchmarks/workload.py writes them.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "klineagg/trade_columns.hpp"

namespace klineagg::bench {

/// A column of a .npy file: what follows its header.
struct Column {
    Column(const std::string& directory, const char* name, std::size_t width) {
        std::ifstream file(directory + "/" + name + ".npy", std::ios::binary);
        if (!file) {
            std::fprintf(stderr, "no %s.npy in %s\n", name, directory.c_str());
            std::exit(2);
        }
        bytes.assign(std::istreambuf_iterator<char>(file), {});
        const auto at = [this](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
        begin = 10 + at(8) + 256U * at(9);
        rows = (bytes.size() - begin) / width;
        stride = width;
    }
    [[nodiscard]] StridedColumn from(std::size_t row) const {
        return {bytes.data() + begin + row * stride, static_cast<std::ptrdiff_t>(stride)};
    }
    std::vector<char> bytes;
    std::size_t begin = 0;
    std::size_t rows = 0;
    std::size_t stride = 0;
};

struct Trades {
    explicit Trades(const std::string& directory)
        : symbol(directory, "symbol", 4), time(directory, "time", 8), price(directory, "price", 8),
          quantity(directory, "quantity", 8), side(directory, "side", 1),
          id(directory, "trade_id", 8) {}
    [[nodiscard]] TradeColumns slice(std::size_t from, std::size_t count) const {
        TradeColumns columns;
        columns.size = count;
        columns.symbol = symbol.from(from);
        columns.time = time.from(from);
        columns.price = price.from(from);
        columns.quantity = quantity.from(from);
        columns.side = side.from(from);
        columns.trade_id = id.from(from);
        return columns;
    }
    Column symbol, time, price, quantity, side, id;
};

}  // namespace klineagg::bench
