// The loops that a C++ programmer would write for one day of trades, as a yardstick: how fast can bars
// be made when nothing is checked, every input is in order and every symbol id is small?
//
//   direct  every trade updates every interval: open, high, low, close, volume, count
//   rollup  every trade updates the finest interval, closed bars go up: the same columns
//   exact   as rollup, with all columns and sums as pairs of float64 (two-sum)
//   read    no bars at all: the six columns are read once, the bound that memory sets

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace {

// As NumPy does for its own arrays: 4 KiB pages would cost more than the bars that are written to them.
void use_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
  const auto first = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
  const auto last = reinterpret_cast<std::uintptr_t>(memory) + bytes;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

struct Trades {
  std::int64_t size;
  const std::int32_t* symbol;
  const std::int64_t* time;
  const double* price;
  const double* quantity;
  const std::int8_t* side;
  const std::int64_t* trade_id;
};

struct Tree {
  int levels;
  const std::int64_t* length_ns;
  const int* parent;  // finer level that a level is rolled up from; -1: the trades
};

struct BasicBar {
  std::int64_t symbol, open_time;
  double open, high, low, close, volume;
  std::int64_t count;
};

struct FullBar {
  std::int64_t symbol, open_time;
  double open, high, low, close;
  double volume, quote_volume, buy_volume, buy_quote_volume;
  std::int64_t count, first_id, last_id, first_time, last_time;
};

// An unrounded sum: after each addition high is the rounded sum, low what the rounding lost.
struct Pair {
  double high, low;

  void add(double value) {
    const double sum = high + value;
    const double part = sum - high;
    low += (high - (sum - part)) + (value - part);
    high = sum;
  }
  void add(const Pair& other) {
    add(other.high);
    low += other.low;
  }
  double rounded() const { return high + low; }
};

struct BasicState {
  std::int64_t end = 0;
  BasicBar bar{};

  void start(const Trades& t, std::int64_t i, std::int64_t open_time) {
    bar = {t.symbol[i], open_time, t.price[i], t.price[i], t.price[i], t.price[i], 0.0, 0};
  }
  void add(const Trades& t, std::int64_t i) {
    const double price = t.price[i];
    bar.high = std::max(bar.high, price);
    bar.low = std::min(bar.low, price);
    bar.close = price;
    bar.volume += t.quantity[i];
    ++bar.count;
  }
  void start(const BasicState& finer, std::int64_t open_time) {
    bar = finer.bar;
    bar.open_time = open_time;
  }
  void merge(const BasicState& finer) {
    bar.high = std::max(bar.high, finer.bar.high);
    bar.low = std::min(bar.low, finer.bar.low);
    bar.close = finer.bar.close;
    bar.volume += finer.bar.volume;
    bar.count += finer.bar.count;
  }
  const BasicBar& row() { return bar; }
};

struct FullState {
  std::int64_t end = 0;
  FullBar bar{};
  Pair volume{}, quote{}, buy{}, buy_quote{};

  void start(const Trades& t, std::int64_t i, std::int64_t open_time) {
    bar = {};
    bar.symbol = t.symbol[i];
    bar.open_time = open_time;
    bar.open = bar.high = bar.low = t.price[i];
    bar.first_id = t.trade_id[i];
    bar.first_time = t.time[i];
    volume = quote = buy = buy_quote = {};
  }
  void add(const Trades& t, std::int64_t i) {
    const double price = t.price[i], quantity = t.quantity[i], value = price * quantity;
    bar.high = std::max(bar.high, price);
    bar.low = std::min(bar.low, price);
    bar.close = price;
    volume.add(quantity);
    quote.add(value);
    const bool bought = t.side[i] > 0;
    buy.add(bought ? quantity : 0.0);
    buy_quote.add(bought ? value : 0.0);
    ++bar.count;
    bar.last_id = t.trade_id[i];
    bar.last_time = t.time[i];
  }
  void start(const FullState& finer, std::int64_t open_time) {
    const std::int64_t own_end = end;
    *this = finer;
    end = own_end;
    bar.open_time = open_time;
  }
  void merge(const FullState& finer) {
    bar.high = std::max(bar.high, finer.bar.high);
    bar.low = std::min(bar.low, finer.bar.low);
    bar.close = finer.bar.close;
    volume.add(finer.volume);
    quote.add(finer.quote);
    buy.add(finer.buy);
    buy_quote.add(finer.buy_quote);
    bar.count += finer.bar.count;
    bar.last_id = finer.bar.last_id;
    bar.last_time = finer.bar.last_time;
  }
  const FullBar& row() {
    bar.volume = volume.rounded();
    bar.quote_volume = quote.rounded();
    bar.buy_volume = buy.rounded();
    bar.buy_quote_volume = buy_quote.rounded();
    return bar;
  }
};

struct Result {
  virtual ~Result() = default;
  virtual const void* rows(int level, std::int64_t* count) const = 0;
};

template <class Row>
struct Table final : Result {
  std::vector<std::vector<Row>> levels;

  const void* rows(int level, std::int64_t* count) const override {
    const auto& made = levels[static_cast<std::size_t>(level)];
    *count = static_cast<std::int64_t>(made.size());
    return made.data();
  }
};

template <class State>
class Loop {
 public:
  using Row = std::remove_cvref_t<decltype(std::declval<State>().row())>;

  Loop(const Trades& trades, const Tree& tree, int symbols)
      : trades_(trades),
        tree_(tree),
        states_(static_cast<std::size_t>(symbols) * static_cast<std::size_t>(tree.levels)),
        table_(std::make_unique<Table<Row>>()) {
    table_->levels.resize(static_cast<std::size_t>(tree.levels));
    // Room for all bars of a day at once: pages never written cost nothing, growing costs copies.
    constexpr std::int64_t day_ns = 86'400'000'000'000;
    for (int level = 0; level < tree.levels; ++level) {
      const std::int64_t spans = symbols * (day_ns / tree.length_ns[level] + 2);
      rows(level).reserve(static_cast<std::size_t>(std::min(trades.size, spans)));
      use_huge_pages(rows(level).data(), rows(level).capacity() * sizeof(Row));
    }
  }

  // LEVELS is the number of intervals when known while compiling (the loop over them then unrolls).
  template <int LEVELS>
  std::unique_ptr<Result> direct() {
    const int levels = LEVELS > 0 ? LEVELS : tree_.levels;
    for (std::int64_t i = 0; i < trades_.size; ++i) {
      State* const states = of(trades_.symbol[i]);
      const std::int64_t time = trades_.time[i];
      for (int level = 0; level < levels; ++level) {
        State& state = states[level];
        if (time >= state.end) [[unlikely]] {
          if (state.end != 0) rows(level).push_back(state.row());
          open(state, level, time);
          state.start(trades_, i, state.end - tree_.length_ns[level]);
        }
        state.add(trades_, i);
      }
    }
    each_state([this](State& state, int level) { rows(level).push_back(state.row()); });
    return std::move(table_);
  }

  std::unique_ptr<Result> roll_up() {
    for (std::int64_t i = 0; i < trades_.size; ++i) {
      State* const states = of(trades_.symbol[i]);
      const std::int64_t time = trades_.time[i];
      if (time >= states->end) [[unlikely]] {
        if (states->end != 0) close(states, 0);
        open(*states, 0, time);
        states->start(trades_, i, states->end - tree_.length_ns[0]);
      }
      states->add(trades_, i);
    }
    each_state([this](State& state, int level) { close(&state - level, level); });
    return std::move(table_);
  }

 private:
  State* of(std::int32_t symbol) {
    return states_.data() + static_cast<std::size_t>(symbol) * static_cast<std::size_t>(tree_.levels);
  }
  std::vector<Row>& rows(int level) { return table_->levels[static_cast<std::size_t>(level)]; }

  void open(State& state, int level, std::int64_t time) {
    const std::int64_t length = tree_.length_ns[level];
    state.end = time - time % length + length;
  }

  void close(State* states, int level) {
    State& closed = states[level];
    rows(level).push_back(closed.row());
    for (int up = level + 1; up < tree_.levels; ++up) {
      if (tree_.parent[up] != level) continue;
      State& coarse = states[up];
      if (closed.bar.open_time < coarse.end) {
        coarse.merge(closed);
        continue;
      }
      if (coarse.end != 0) close(states, up);
      open(coarse, up, closed.bar.open_time);
      coarse.start(closed, coarse.end - tree_.length_ns[up]);
    }
  }

  template <class Use>
  void each_state(Use use) {
    for (std::size_t at = 0; at < states_.size(); ++at) {
      const int level = static_cast<int>(at % static_cast<std::size_t>(tree_.levels));
      if (states_[at].end != 0) use(states_[at], level);
    }
  }

  Trades trades_;
  Tree tree_;
  std::vector<State> states_;
  std::unique_ptr<Table<Row>> table_;
};

std::unique_ptr<Result> read_all(const Trades& t) {
  std::int64_t whole = 0;
  double real = 0.0;
  // Eight partial sums, so that the additions do not wait for one another: memory is the bound.
  double lanes[8] = {};
  const std::int64_t blocks = t.size / 8 * 8;
  for (std::int64_t i = 0; i < blocks; i += 8) {
    for (std::int64_t k = 0; k < 8; ++k) {
      lanes[k] += t.price[i + k] + t.quantity[i + k];
      whole += t.symbol[i + k] + t.time[i + k] + t.side[i + k] + t.trade_id[i + k];
    }
  }
  for (const double lane : lanes) real += lane;
  auto table = std::make_unique<Table<double>>();
  table->levels = {{real, static_cast<double>(whole)}};
  return table;
}

}  // namespace

extern "C" {

void* bench_run(int mode, const Trades* trades, const Tree* tree, int symbols) {
  if (mode == 0) {
    Loop<BasicState> loop(*trades, *tree, symbols);
    if (tree->levels == 8) return loop.direct<8>().release();
    if (tree->levels == 1) return loop.direct<1>().release();
    return loop.direct<0>().release();
  }
  if (mode == 1) return Loop<BasicState>(*trades, *tree, symbols).roll_up().release();
  if (mode == 2) return Loop<FullState>(*trades, *tree, symbols).roll_up().release();
  return read_all(*trades).release();
}

const void* bench_rows(const void* result, int level, std::int64_t* count) {
  return static_cast<const Result*>(result)->rows(level, count);
}

void bench_free(void* result) { delete static_cast<Result*>(result); }

}  // extern "C"
