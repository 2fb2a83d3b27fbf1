package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/rule"
	"logscan/internal/store"
)

const (
	tokenPath  = "/api/token"
	tokensPath = "/api/tokens"
)

func (s *server) accessTokens(api huma.API) {
	huma.Register(api, operation(http.MethodGet, tokenPath, "get-token", "Show the admin's token of the TCP listener; over the unix socket only", 200, 404, 409), s.getToken)
	huma.Register(api, operation(http.MethodGet, tokensPath, "list-tokens", "List the tokens that were made", 200), s.listTokens)
	huma.Register(api, withBody(operation(http.MethodPost, tokensPath, "create-token", "Make a token of a scope; it is shown this once", 201, 409)), s.createToken)
	huma.Register(api, operation(http.MethodDelete, tokensPath+"/{id}", "delete-token", "Remove a token; it is good for nothing from then on", 204, 404), s.deleteToken)
}

func (s *server) getToken(ctx context.Context, _ *struct{}) (*output[Token], error) {
	if overTCP(ctx) || s.Token == nil {
		return nil, huma.Error404NotFound("the token is told over the unix socket only")
	}
	t, ok := s.Token()
	if !ok {
		return nil, huma.Error409Conflict("the API doesn't listen on TCP: the setting LOGSCAN_LISTEN (HOST:PORT) is not set")
	}
	return &output[Token]{Body: t}, nil
}

func (s *server) listTokens(ctx context.Context, _ *struct{}) (*output[List[AccessToken]], error) {
	tokens, err := s.Store.Tokens(ctx)
	if err != nil {
		return nil, s.fail(err, "token")
	}
	out := &output[List[AccessToken]]{Body: List[AccessToken]{Items: make([]AccessToken, len(tokens))}}
	for i, t := range tokens {
		out.Body.Items[i] = tokenOut(t)
	}
	return out, nil
}

func (s *server) createToken(ctx context.Context, in *struct{ Body TokenCreate }) (*created[NewToken], error) {
	if err := rule.CheckName(in.Body.Name); err != nil {
		return nil, invalid("name", err.Error())
	}
	token, hash := newToken()
	t, err := s.Store.CreateToken(ctx, store.Token{Name: in.Body.Name, Scope: string(in.Body.Scope), Hash: hash})
	if err != nil {
		return nil, s.fail(err, "token")
	}
	s.Tokens.add(t)
	return newlyMade(fmt.Sprintf("%s/%d", tokensPath, t.ID), NewToken{tokenOut(t), token}, nil), nil
}

func (s *server) deleteToken(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := s.Store.DeleteToken(ctx, in.ID); err != nil {
		return nil, s.fail(err, "token")
	}
	s.Tokens.remove(in.ID)
	return nil, nil
}

func tokenOut(t store.Token) AccessToken {
	return AccessToken{ID: t.ID, Name: t.Name, Scope: Scope(t.Scope), CreatedAt: t.CreatedAt.UTC()}
}
