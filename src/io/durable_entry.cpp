#include "io/durable_entry.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/temporary_name.hpp"

namespace vmad::io {

void replace_entry(FileSystem& fs, const File& directory, const std::string& name,
                   const std::function<void(const std::string&)>& make) {
    const auto temporary = fmt::format(".{}.tmp", random_hex());
    try {
        make(temporary);
        fs.rename(directory, temporary, name);
    } catch (...) {
        try {
            fs.unlink(directory, temporary);
        } catch (const base::Error&) {
            // The first failure is the one to report; the spool removes such a file when it starts.
        }
        throw;
    }
}

void sync_or_put_back(FileSystem& fs, const File& directory, const std::function<void()>& put_back) {
    try {
        fs.sync(directory);
    } catch (...) {
        try {
            put_back();
            fs.sync(directory);
        } catch (const base::Error&) {
            // Either entry is whole, and the first failure is the one to report.
        }
        throw;
    }
}

}  // namespace vmad::io
