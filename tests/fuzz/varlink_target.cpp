// Law: however a stream of messages is portioned, the same ones come out, until one is too long. What is JSON
// stays the same when it is framed and parsed again. A call or reply that is read is the same after it was
// written and read once more, and so are the parameters of each method; nothing else is thrown than what the
// protocol names.
#include <nlohmann/json.hpp>

#include "api/queue_calls.hpp"
#include "api/status.hpp"
#include "base/error.hpp"
#include "fuzz_target.hpp"
#include "varlink/framing.hpp"
#include "varlink/protocol.hpp"

namespace vmad::fuzz {
namespace {

using nlohmann::json;

std::vector<std::string> split(std::string_view stream, Input portions) {
    varlink::MessageSplitter splitter;
    std::vector<std::string> messages;
    while (!stream.empty()) {
        const auto count =
            std::min<std::size_t>(portions.empty() ? stream.size() : 1 + portions.take(), stream.size());
        splitter.add(stream.substr(0, count));
        stream.remove_prefix(count);
        while (auto message = splitter.next()) messages.push_back(std::move(*message));
        require(!splitter.ready(), "who has taken all messages waits for more");
    }
    return messages;
}

template <typename T>
void check_again(const json& in) {
    T value;
    try {
        value = in.get<T>();
    } catch (const base::Error&) {
        return;
    }
    const json out = value;
    require(out.get<T>() == value, "what was read stays the same when it is written and read again");
    require(json(out.get<T>()) == out, "and so does what was written");
}

template <typename T>
void check_parameters(const json& in) {
    try {
        (void)api::parameters_as<T>(in);
    } catch (const varlink::RemoteError& error) {
        require(error.name() == "org.varlink.service.InvalidParameter", "a bad parameter is named");
    } catch (const base::Error&) {
        require(!in.is_object(), "parameters that are an object are taken, or one of them is named");
    }
    check_again<T>(in);
}

void check_message(const std::string& text) {
    json message;
    try {
        message = varlink::parse_message(text);
    } catch (const varlink::ProtocolError&) {
        return;
    }
    auto framed = varlink::frame_message(message);
    require(!framed.empty() && framed.back() == '\0' && framed.find('\0') == framed.size() - 1,
            "a message has one NUL, at its end");
    framed.pop_back();
    require(varlink::parse_message(framed) == message || text.find_first_of("eE.") != text.npos,
            "a message stays the same when it is framed and parsed again");
    check_again<varlink::Call>(message);
    check_again<varlink::Reply>(message);
    const json& parameters =
        message.is_object() && message.contains("parameters") ? message["parameters"] : message;
    check_parameters<api::EnqueueCall>(parameters);
    check_parameters<api::ListCall>(parameters);
    check_parameters<api::JobCall>(parameters);
    check_parameters<api::PauseCall>(parameters);
    check_parameters<api::EmptyCall>(parameters);
    check_parameters<api::WaitCall>(parameters);
    check_parameters<api::ForgetCall>(parameters);
    check_again<api::EnqueueReply>(parameters);
    check_again<api::ReloadReply>(parameters);
    check_again<api::JobReply>(parameters);
    check_again<api::ArchiveReply>(parameters);
    check_again<api::GuestReply>(parameters);
    check_again<api::ForgetReply>(parameters);
}

void run(View bytes) {
    Input input(bytes);
    const Input portions(input.bytes(input.below(16)));
    const auto stream = input.text();
    const auto messages = split(stream, portions);
    require(messages == split(stream, Input({})), "messages do not depend on the portions");
    for (const auto& message : messages) check_message(message);
}

std::vector<Bytes> seeds() {
    const char* messages[] = {
        R"({"method":"org.varlink.service.GetInfo"})",
        R"({"method":"org.vmad.Queue.Enqueue","parameters":{"path":"/mnt/a.vma","announced":true,"storage":"local","file":"1-2-3","kind":"verify"}})",
        R"({"method":"org.vmad.Queue.List","more":true,"parameters":{"states":["queued","done"]}})",
        R"({"method":"org.vmad.Queue.Show","oneway":true,"parameters":{"id":9223372036854775807}})",
        R"({"method":"org.vmad.Queue.Wait","more":true,"parameters":{"ids":[1,2],"paths":["/a"]}})",
        R"({"method":"org.vmad.Queue.Pause","parameters":{"now":false}})",
        R"({"method":"org.vmad.Queue.Forget","parameters":{"paths":["/a","/b"]}})",
        R"({"continues":true,"parameters":{"archive":{"path":"/a","backup_at":1,"size_bytes":2,"modified_ns":3,"verdict":"good"}}})",
        R"({"parameters":{"guest":{"vmid":100,"storage":"s","guest":"g","backups":1,"bytes":2}}})",
        R"({"parameters":{"job":{"id":1,"path":"/a","state":"queued","queued_at":1,"attempts":0,"failed_attempts":0},"created":true}})",
        R"({"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"id"}})",
        R"([[[[1.5e300,-0,"\u0000\ud800"]]],null,true])"};
    std::vector<Bytes> result;
    for (const std::string message : messages) {
        result.push_back(bytes_of(std::string(1, '\0') + message + '\0'));
        result.push_back(
            bytes_of("\x03"
                     "abc" +
                     message + '\0' + message + '\0'));
    }
    return result;
}

const Registration registration({"varlink", 40, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
