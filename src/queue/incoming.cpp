#include "queue/incoming.hpp"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>

#include <climits>
#include <fmt/format.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
#include "io/temporary_name.hpp"
#include "queue/queue.hpp"

namespace vmad::queue {
namespace {

/// More than any path and its NUL.
constexpr std::size_t kFileLimitBytes = PATH_MAX + 1;
constexpr mode_t kDirectoryMode = 0700;

}  // namespace

std::string leave_request(io::FileSystem& fs, const std::string& state_dir, const std::string& path) {
    auto incoming = state_dir + "/incoming";
    for (const std::filesystem::path directory : {state_dir, incoming})
        if (fs.make_directory(directory, kDirectoryMode))
            io::sync_where_known(fs, fs.open(directory.parent_path(), O_RDONLY | O_DIRECTORY));
    // By their time, so that they are taken in the order in which they came.
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto name = fmt::format("{:020}-{}", std::chrono::nanoseconds(now).count(), io::random_hex());
    io::write_durably(fs, fs.open(incoming, O_RDONLY | O_DIRECTORY), name, path + '\0');
    return incoming;
}

std::vector<BadFile> take_incoming(io::FileSystem& fs, const io::File& directory, const AcceptPath& accept) {
    io::remove_stale(fs, directory);
    std::vector<std::string> names = fs.entries(directory);
    std::erase_if(names, [](const std::string& name) { return name.starts_with('.') || is_set_aside(name); });
    std::sort(names.begin(), names.end());

    std::vector<BadFile> bad;
    for (const std::string& name : names) {
        std::optional<std::string> content;
        std::optional<std::string> fault;
        try {
            content = io::read_small_file(fs, directory, name, kFileLimitBytes);
            if (!content) continue;
        } catch (const base::SystemError& error) {
            bad.push_back({name, error.what()});
            continue;
        } catch (const base::Error& error) {
            fault = error.what();
        }
        if (!fault && !content->ends_with('\0')) fault = "not terminated by NUL";
        if (!fault) {
            content->pop_back();
            fault = fault_of_path(*content);
        }
        if (!fault) fault = accept(*content);
        if (fault) {
            set_aside(fs, directory, name);
            bad.push_back({name, *fault});
        } else {
            // Not synced: should a power cut bring the file back, its path is merely queued once more.
            fs.unlink(directory, name);
        }
    }
    return bad;
}

}  // namespace vmad::queue
