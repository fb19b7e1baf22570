#include "klineagg/wal/damage.hpp"

namespace klineagg::wal {

std::string Damage::text() const {
    std::string text = path + ": " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                       " are damaged";
    if (!loses_records()) return text + "; no record is lost with them";
    return text + "; records " + std::to_string(first) + " ... " + std::to_string(last) +
           " are lost";
}

Error Damage::error() const {
    return {ErrorCode::wal_damaged,
            text(),
            {{"path", path},
             {"offset", std::to_string(offset)},
             {"bytes", std::to_string(bytes)},
             {"first_sequence", std::to_string(first)},
             {"last_sequence", std::to_string(last)}}};
}

}  // namespace klineagg::wal
