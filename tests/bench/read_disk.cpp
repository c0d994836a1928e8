// Reads the largest disk of an archive through access::DiskReader, without FUSE: what a mount can be at best.
//
// read-disk ARCHIVE sequential|random [MEMORY_MIB]: prints JSON.
#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "access/disk_reader.hpp"
#include "support/random.hpp"

using namespace vmad;

namespace {

constexpr std::size_t kSequentialBytes = std::size_t{1} << 20;
constexpr std::size_t kRandomBytes = 4096;
constexpr unsigned kRandomReads = 2000;

/// Returns how many bytes were read.
std::uint64_t read(access::DiskReader& reader, const vma::Device& device, bool random) {
    std::vector<std::byte> buffer(random ? kRandomBytes : kSequentialBytes);
    testing::Random numbers(1);
    std::uint64_t offset = 0;
    std::uint64_t done = 0;
    for (unsigned i = 0; random ? i < kRandomReads : offset < device.size_bytes; ++i) {
        if (random) offset = numbers.below(device.size_bytes / kRandomBytes) * kRandomBytes;
        const auto bytes = std::min<std::uint64_t>(buffer.size(), device.size_bytes - offset);
        reader.read_at(device.id, offset, std::span(buffer).first(bytes));
        offset += bytes;
        done += bytes;
    }
    return done;
}

double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return std::fputs("usage: read-disk ARCHIVE sequential|random [MEMORY_MIB]\n", stderr), 2;
    io::FileSystem fs;
    const auto file = fs.open(argv[1], O_RDONLY);
    const auto begin = std::chrono::steady_clock::now();
    const auto index = access::ArchiveIndex::read(fs, file, {});
    const auto indexed = std::chrono::steady_clock::now();
    const auto& devices = index->header().devices;
    const auto& device = *std::max_element(devices.begin(), devices.end(), [](const auto& a, const auto& b) {
        return a.size_bytes < b.size_bytes;
    });
    access::DiskReader::Options options;
    if (argc > 3) options.memory_bytes = std::strtoull(argv[3], nullptr, 10) << 20;
    std::uint64_t bytes = 0;
    {
        access::DiskReader reader(*index, options);
        bytes = read(reader, device, std::string_view(argv[2]) == "random");
    }
    const std::chrono::duration<double> index_time = indexed - begin;
    const std::chrono::duration<double> read_time = std::chrono::steady_clock::now() - indexed;
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    fmt::print(
        R"({{"index_seconds": {:.3f}, "read_seconds": {:.3f}, "bytes": {}, "cpu_seconds": {:.3f}, "rss_mib": {}}})"
        "\n",
        index_time.count(), read_time.count(), bytes, seconds(usage.ru_utime) + seconds(usage.ru_stime),
        usage.ru_maxrss / 1024);
}
