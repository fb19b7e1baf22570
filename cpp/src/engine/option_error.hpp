// Errors about the engine's options and arguments.
#pragma once

#include <string>

#include "klineagg/error.hpp"

namespace klineagg::engine {

[[noreturn]] inline void throw_option(const std::string& option, const std::string& message) {
    throw Error(ErrorCode::invalid_option, message, {{"option", option}});
}

}  // namespace klineagg::engine
