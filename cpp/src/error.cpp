#include "klineagg/error.hpp"

namespace klineagg {

const std::vector<ErrorInfo>& error_table() {
    static const std::vector<ErrorInfo> table = {
#define KLINEAGG_ROW(number, name, cls, hint) {ErrorCode::name, #name, #cls, hint},
        KLINEAGG_ERROR_TABLE(KLINEAGG_ROW)
#undef KLINEAGG_ROW
    };
    return table;
}

const ErrorInfo& error_info(ErrorCode code) {
    for (const ErrorInfo& info : error_table()) {
        if (info.code == code) return info;
    }
    return error_table().back();  // internal: a code outside the table is our own mistake
}

}  // namespace klineagg
