#include "varlink/protocol.hpp"

#include <string>

#include <doctest/doctest.h>

using namespace vmad::varlink;
using nlohmann::json;

namespace {

struct BadMessage {
    const char* text;
    const char* message;
};

}  // namespace

TEST_CASE("bad calls are refused with the field that is wrong") {
    const BadMessage table[] = {
        {"[]", "call is not an object"},
        {"null", "call is not an object"},
        {"\"org.varlink.service.GetInfo\"", "call is not an object"},
        {"{}", "call: method is missing"},
        {R"({"parameters":{}})", "call: method is missing"},
        {R"({"method":null})", "call: method is missing"},
        {R"({"method":7})", "call: method is not a string"},
        {R"({"method":["a.b"]})", "call: method is not a string"},
        {R"({"method":"a.b","parameters":[]})", "call: parameters is not an object"},
        {R"({"method":"a.b","parameters":"x"})", "call: parameters is not an object"},
        {R"({"method":"a.b","more":1})", "call: more is not a boolean"},
        {R"({"method":"a.b","oneway":"true"})", "call: oneway is not a boolean"},
        {R"({"method":"a.b","upgrade":true})", "call: upgrade is not supported"},
        {R"({"method":"a.b","more":true,"oneway":true})", "call: more and oneway exclude each other"},
        {R"({"method":"a.b","Method":"a.b"})", "call: Method is unknown"},
        {R"({"method":"a.b","continues":true})", "call: continues is unknown"},
    };
    for (const auto& [text, message] : table) {
        CAPTURE(std::string(text));
        CHECK_THROWS_WITH_AS(json::parse(text).get<Call>(), message, ProtocolError);
    }
}

TEST_CASE("bad replies are refused with the field that is wrong") {
    const BadMessage table[] = {
        {"[]", "reply is not an object"},
        {R"({"parameters":1})", "reply: parameters is not an object"},
        {R"({"continues":0})", "reply: continues is not a boolean"},
        {R"({"error":{}})", "reply: error is not a string"},
        {R"({"error":""})", "reply: error is empty"},
        {R"({"error":"a.B","continues":true})", "reply: error and continues exclude each other"},
        {R"({"method":"a.b"})", "reply: method is unknown"},
    };
    for (const auto& [text, message] : table) {
        CAPTURE(std::string(text));
        CHECK_THROWS_WITH_AS(json::parse(text).get<Reply>(), message, ProtocolError);
    }
}

TEST_CASE("law: a call or reply survives its JSON form") {
    for (const bool flag : {false, true}) {
        for (const json& parameters : {json::object(), json{{"a", 1}, {"b", {1, 2}}}}) {
            for (const Call& call :
                 {Call{"a.b.C", parameters, flag, false}, Call{"", parameters, false, flag}})
                CHECK(json(call).get<Call>() == call);
            for (const Reply& reply :
                 {Reply{parameters, flag, ""}, Reply{parameters, false, flag ? "a.E" : ""}})
                CHECK(json(reply).get<Reply>() == reply);
        }
    }
}

TEST_CASE("a plain call and a plain reply say nothing needless") {
    CHECK(json(Call{"a.B"}).dump() == R"({"method":"a.B"})");
    CHECK(json(Reply{}).dump() == R"({"parameters":{}})");
    CHECK(json::parse(R"({"method":"a.B","parameters":null,"upgrade":false})").get<Call>() == Call{"a.B"});
    CHECK(json::parse(R"({"method":"a.B","more":null})").get<Call>() == Call{"a.B"});
    CHECK(json::parse("{}").get<Reply>() == Reply{});
    CHECK(json::parse(R"({"error":null})").get<Reply>() == Reply{});
}

TEST_CASE("the standard errors have their names and parameters") {
    const auto check = [](const RemoteError& error, const char* name, const json& parameters) {
        CHECK(error.name() == std::string("org.varlink.service.") + name);
        CHECK(error.parameters() == parameters);
    };
    check(interface_not_found("a.b"), "InterfaceNotFound", {{"interface", "a.b"}});
    check(method_not_found("a.b.C"), "MethodNotFound", {{"method", "a.b.C"}});
    check(method_not_implemented("a.b.C"), "MethodNotImplemented", {{"method", "a.b.C"}});
    check(invalid_parameter("id"), "InvalidParameter", {{"parameter", "id"}});
    check(permission_denied(), "PermissionDenied", json::object());
    check(expected_more(), "ExpectedMore", json::object());
    CHECK(std::string(invalid_parameter("id").what()) ==
          R"(org.varlink.service.InvalidParameter {"parameter":"id"})");
    CHECK(std::string(expected_more().what()) == "org.varlink.service.ExpectedMore");
    CHECK(std::string(invalid_parameter("\xff").what()) ==
          "org.varlink.service.InvalidParameter {\"parameter\":\"\xef\xbf\xbd\"}");
}
