#include "repack/qemu_image.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <functional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/child_start.hpp"
#include "codec/child_program.hpp"
#include "repack/disk_image.hpp"

namespace vmad::repack {
namespace {

constexpr char kProgram[] = "qemu-img";
/// How long nobody looks at the cancel flag at most.
constexpr std::chrono::milliseconds kSlice{200};

/// Runs qemu-img to its end. `output` gets what it writes to stdout.
void run_qemu_img(std::vector<std::string> arguments, const base::CancelFlag& cancel,
                  const std::function<void(std::string_view)>& output) {
    const auto path = base::find_program(kProgram);
    if (!path)
        throw base::Error(
            "qemu-img is needed for images that are not raw and is not installed: apt install qemu-utils");
    arguments.insert(arguments.begin(), kProgram);
    codec::ChildProgram program(*path, std::move(arguments), "");
    program.end_input();
    std::array<char, 4096> bytes;
    for (;;) {
        cancel.check();
        const iovec into{bytes.data(), bytes.size()};
        const auto count = program.receive({&into, 1}, kSlice);
        if (count == 0) break;
        if (count) output({bytes.data(), *count});
    }
    std::optional<codec::ProgramEnd> end;
    while (!(end = program.wait_end(kSlice))) cancel.check();
    if (end->signal != 0) throw base::Error(fmt::format("qemu-img was ended by signal {}", end->signal));
    // It begins with the name of the program.
    if (end->exit_status != 0) throw base::Error(codec::first_line(*end));
}

std::uint64_t virtual_size(const std::string& format, const std::string& path,
                           const base::CancelFlag& cancel) {
    std::string text;
    run_qemu_img({"info", "--output=json", "-f", format, path}, cancel,
                 [&](std::string_view more) { text += more; });
    const auto info = nlohmann::json::parse(text, nullptr, false);
    const auto size = info.is_object() ? info.find("virtual-size") : info.end();
    if (!info.is_object() || size == info.end() || !size->is_number_unsigned())
        throw base::Error(fmt::format("qemu-img does not tell the size of the disk in {}", path));
    return size->get<std::uint64_t>();
}

/// Of "(12.34/100%)", which is written again and again.
std::optional<unsigned> last_percentage(std::string_view text) {
    const auto at = text.rfind('(');
    unsigned percent = 0;
    if (at == text.npos ||
        std::from_chars(text.data() + at + 1, text.data() + text.size(), percent).ec != std::errc())
        return std::nullopt;
    return percent;
}

io::File open_place(io::FileSystem& fs, const engine::SpillPlace& place) {
    if (place.beside != nullptr)
        if (auto unnamed = fs.open_unnamed(*place.beside)) return std::move(*unnamed);
    return engine::open_nameless(fs, fs.open(place.directory, O_RDONLY | O_DIRECTORY));
}

/// What is converted, of any size.
DiskImage as_opened(io::FileSystem& fs, const std::string& path) {
    auto file = open_image(fs, path);
    const auto status = fs.status(file);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        throw base::UsageError(path + " is neither a regular file nor a block device");
    const auto size = fs.seek(file, 0, SEEK_END).value_or(0);
    return {{}, std::move(file), size, status.st_mtim};
}

}  // namespace

io::File convert_to_raw(io::FileSystem& fs, const std::string& format, const std::string& path,
                        const engine::SpillPlace& place, const base::TaskOptions& task) {
    const auto image = as_opened(fs, path);  // when it is not there, our own message is better
    // What qemu-img would take for a protocol in front of a colon is none in an absolute path.
    const auto absolute = std::filesystem::absolute(path).string();
    const auto size = virtual_size(format, absolute, task.cancel_flag());
    check_disk_size(path, size);
    auto raw = open_place(fs, place);
    fs.truncate(raw, size);
    // By way of /proc, because the file has no name.
    const auto target = fmt::format("/proc/{}/fd/{}", ::getpid(), raw.fd());
    run_qemu_img({"convert", "-p", "-n", "--target-is-zero", "-f", format, "-O", "raw", absolute, target},
                 task.cancel_flag(), [&](std::string_view text) {
                     const auto percent = last_percentage(text);
                     if (percent && task.progress)
                         task.progress({base::Stage::extracting, size / 100 * *percent, size});
                 });
    require_unchanged(fs, image);
    // qemu-img passes over what fails after it has written, as where space is only given out then.
    fs.sync(raw);
    task.report_end(base::Stage::extracting, size);
    return {raw.take(), path};
}

}  // namespace vmad::repack
